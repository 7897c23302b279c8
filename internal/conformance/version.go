package conformance

import "fmt"

// Version is the protocol level byte of CONNECT.
type Version byte

// The versions that there are checks for.
const (
	V31  Version = 3 // protocol name "MQIsdp"
	V311 Version = 4
	V5   Version = 5
)

// String gives the name that the standards use: "3.1.1".
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	}
	return "5.0"
}

// MarshalText gives String, for JSON.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (v *Version) UnmarshalText(text []byte) error {
	for _, x := range Versions {
		if x.String() == string(text) {
			*v = x
			return nil
		}
	}
	return fmt.Errorf("%q is not a version: write 3.1, 3.1.1 or 5.0", text)
}
