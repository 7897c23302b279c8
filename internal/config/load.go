package config

import (
	"fmt"
	"slices"
	"strings"
)

// Override is a value from the command line.
type Override struct {
	Key   string // dotted path
	Value string // items of a list are parted by commas
	From  string // the flag, "--listen", for messages
}

// Load makes the configuration from, in rising precedence, the defaults, the
// file (none when its name is ""), the environment (as os.Environ gives it) and
// overrides. The error, if any, is of type Errors and has everything that is
// wrong; the Config is not to be used then.
func Load(file string, environment []string, overrides []Override) (*Config, error) {
	c := Default()
	var wrong Errors
	if file != "" {
		wrong = append(wrong, c.applyFile(file)...)
	}
	wrong = append(wrong, c.applyEnvironment(environment)...)
	for _, o := range overrides {
		k := find(o.Key)
		if k == nil {
			problem := "unknown key; 'holdfast config print' shows all there are"
			if near := nearestKey(o.Key); near != "" {
				problem = fmt.Sprintf("unknown key; did you mean %q?", near)
			}
			if strings.HasPrefix(o.Key, bridgeBlock) {
				problem = "bridges are in a configuration file: write [[bridge]] there"
			}
			if strings.HasPrefix(o.Key, limitBlock+".") {
				problem = "limits of some sessions are in a configuration file: write [[limit]] there; those of all are limits.messages, limits.bytes and limits.overflow"
			}
			wrong = append(wrong, &Error{Where: o.From, Key: o.Key, Problem: problem})
			continue
		}
		wrong = append(wrong, c.applyText(k, o.Value, o.From)...)
	}
	// Values that could not be read have their default: checking them would
	// add nothing, and checking the others may.
	wrong = append(wrong, c.validate(wrong)...)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return c, nil
}

// applyEnvironment takes the HOLDFAST_ variables of an environment.
func (c *Config) applyEnvironment(environment []string) Errors {
	var wrong Errors
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].environment()
	}
	for _, pair := range environment {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || name == FileVariable {
			continue
		}
		if i := slices.Index(names, name); i >= 0 {
			wrong = append(wrong, c.applyText(&keys[i], value, "environment variable "+name)...)
			continue
		}
		// Others may use the prefix too (a Kubernetes service of our name makes
		// such variables), so an unknown one is no error; a near miss is worth
		// saying.
		if near := nearest(name[len(envPrefix):], trimAll(names, envPrefix)); near != "" {
			c.Warnings = append(c.Warnings, fmt.Sprintf("environment variable %s is no setting and was ignored; did you mean %s%s?", name, envPrefix, near))
		}
	}
	return wrong
}

// FileVariable is the environment variable that names the configuration file
// when no flag does.
const FileVariable = envPrefix + "CONFIG"

// applyText sets one key from text.
func (c *Config) applyText(k *key, value, from string) Errors {
	if err := parse(k.field(c), value); err != nil {
		return Errors{{Where: from, Key: k.path, Problem: err.Error()}}
	}
	c.setOrigin(k.path, from)
	return nil
}

func (c *Config) setOrigin(path, origin string) {
	if c.origin == nil {
		c.origin = make(map[string]string)
	}
	c.origin[path] = origin
}

func trimAll(names []string, prefix string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.TrimPrefix(n, prefix)
	}
	return out
}
