// Package config is the broker's configuration: its keys, their defaults, where
// values come from (flag over environment over file over default), and what is
// wrong with them, with the place and how to mend it.
//
// The file is TOML and read strictly: an unknown key is an error with its line
// and the nearest name there is. All keys are rows of one table (key.go), which
// the file, the environment and 'config print' share, so that none of the three
// can know a key that the others do not.
//
// It knows nothing of the packages that it configures, but for the form of an
// address, which is listen's: it gives plain values, and cli hands them on. It
// opens no file but the one it is asked to load.
package config
