// Package inspect looks at a data folder without changing a byte of it: it
// brings a core up from checkpoint and journal as a start would, to be asked, and
// it checks that all of the folder hangs together. It is for tools.
//
// It may not write, listen or connect, and it decides nothing about what a state
// means: that is the core's. Files are read through the packages journal and
// state alone, so that their next format is read here too.
package inspect
