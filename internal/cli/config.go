package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/config"
)

// ConfigCmd has the commands about configuration files.
type ConfigCmd struct {
	Check ConfigCheckCmd `cmd:"" help:"Say all that is wrong with a configuration file."`
	Print ConfigPrintCmd `cmd:"" help:"Print all keys with comments, as a file to begin from."`
}

// ConfigCheckCmd judges a file, with defaults for what it leaves out.
type ConfigCheckCmd struct {
	File string `arg:"" help:"The file to check." placeholder:"FILE"`
}

// Run checks the file alone: neither the environment nor a flag can make it
// better or worse than it is.
func (c *ConfigCheckCmd) Run(ctx context.Context, s Streams) error {
	loaded, err := config.Load(c.File, nil, nil)
	if err != nil {
		return &ExitError{Code: ExitUsage, Err: err}
	}
	for i := range loaded.Bridges {
		if err := bridge.CheckRules(rules(&loaded.Bridges[i])); err != nil {
			return &ExitError{Code: ExitUsage, Err: fmt.Errorf("bridge %q: %w", loaded.Bridges[i].Name, err)}
		}
	}
	for _, w := range loaded.Warnings {
		fmt.Fprintf(s.Err, "warning: %s\n", w)
	}
	_, err = fmt.Fprintf(s.Out, "%s: ok\n", c.File)
	return err
}

// ConfigPrintCmd prints the defaults or what is in force.
type ConfigPrintCmd struct {
	Config string `short:"c" placeholder:"FILE" help:"Print what is in force with this file and the environment, instead of the defaults."`
}

// Run prints.
func (c *ConfigPrintCmd) Run(ctx context.Context, s Streams) error {
	if c.Config == "" {
		return config.Default().Print(s.Out)
	}
	loaded, err := config.Load(c.Config, os.Environ(), nil)
	if err != nil {
		return &ExitError{Code: ExitUsage, Err: err}
	}
	return loaded.Print(s.Out)
}
