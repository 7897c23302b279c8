// Package backup copies a data folder, whole and of one moment, and back: into
// a new folder under another name first, synced, verified, and only then under
// its own. A backup is a data folder with a manifest beside it, which has every
// file with its size and SHA-256.
//
// It knows files, and asks package inspect whether what it wrote is sound. It may
// not know what a broker is doing: whoever calls it holds the files.
package backup
