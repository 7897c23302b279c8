// Package soak holds runs that are long by nature: what they show takes many
// gigabytes. A plain test run does a small part of each; make has targets for the
// whole, and docs/soaks.md what came of it.
package soak
