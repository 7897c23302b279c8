// Package folder says what a data folder has inside, and who may use it: one
// process that writes, or any number that only read; and it makes folders so that
// a power cut does not take their names. It knows names and locks
// and may not know what the files contain.
package folder
