// Package process runs the broker as users do: the program, built from this
// module, as a process of its own that can be killed, stopped, continued and
// started again on the same port and data folder. Tests of real crashes and with
// clients of others use it. It knows the command line and the log of the program
// and may not know what is behind them.
package process
