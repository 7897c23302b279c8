package folder

import "fmt"

// InUseError says that another process has the data folder.
type InUseError struct {
	Dir string
	PID string // of the broker that had it last, often the one that has it; may be empty
}

// Error says who, and what to do.
func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID != "" {
		holder = "process " + e.PID
	}
	return fmt.Sprintf("data folder %s is in use by %s, or by a tool that reads it such as 'holdfast check'; "+
		"end that first, or choose another folder with --data", e.Dir, holder)
}
