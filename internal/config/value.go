package config

import (
	"encoding"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The fields that keys point to are *[]string, *string, *bool, *uint16,
// *uint64, *time.Duration, or know how to read text themselves.

// assign sets a field to what TOML had.
func assign(field, v any) error {
	switch v := v.(type) {
	case string:
		switch field.(type) {
		case *bool:
			return fmt.Errorf("wants true or false without quotes, not %q", v)
		case *uint16, *uint64:
			return fmt.Errorf("wants a whole number without quotes, not %q", v)
		case *[]string:
			return fmt.Errorf("wants a list; write [%q]", v)
		}
		return parse(field, v)
	case int64:
		switch field.(type) {
		case *bool:
			return fmt.Errorf("wants true or false, not %d", v)
		case *string, *[]string:
			return fmt.Errorf("wants text in quotes, not %d", v)
		}
		return parse(field, strconv.FormatInt(v, 10))
	case bool:
		b, ok := field.(*bool)
		if !ok {
			return fmt.Errorf("cannot be %t; its form is %s", v, literal(field))
		}
		*b = v
		return nil
	case []any:
		list, ok := field.(*[]string)
		if !ok {
			return fmt.Errorf("cannot be a list; its form is %s", literal(field))
		}
		var texts []string
		for i, item := range v {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("wants texts in quotes, and item %d is %v", i+1, item)
			}
			texts = append(texts, text)
		}
		*list = texts
		return nil
	default:
		return fmt.Errorf("cannot be %v; its form is %s", v, literal(field))
	}
}

// parse sets a field from text, which is how values of flags and of the
// environment come. Items of a list are parted by commas.
func parse(field any, text string) error {
	switch f := field.(type) {
	case *string:
		*f = text
	case *[]string:
		*f = nil
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*f = append(*f, item)
			}
		}
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("wants true or false, not %q", text)
		}
		*f = b
	case *uint16:
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("wants a whole number from 0 to 65535, not %q", text)
		}
		*f = uint16(n)
	case *uint64:
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return fmt.Errorf("wants a whole number, 0 or more, not %q", text)
		}
		*f = n
	case *time.Duration:
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		*f = d
	case encoding.TextUnmarshaler:
		return f.UnmarshalText([]byte(text))
	default:
		panic(fmt.Sprintf("config: a key of type %T", field))
	}
	return nil
}

// literal is the value of a field in TOML.
func literal(field any) string {
	switch f := field.(type) {
	case *string:
		return quote(*f)
	case *[]string:
		items := make([]string, len(*f))
		for i, item := range *f {
			items[i] = quote(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *bool:
		return strconv.FormatBool(*f)
	case *uint16:
		return strconv.FormatUint(uint64(*f), 10)
	case *uint64:
		return strconv.FormatUint(*f, 10)
	case *time.Duration:
		return quote(FormatDuration(*f))
	case *Size:
		if *f == 0 {
			return "0"
		}
		return quote(f.String())
	case *Store:
		return quote(string(*f))
	case *Overflow:
		return quote(string(*f))
	case *Level:
		return quote(string(*f))
	case *Format:
		return quote(string(*f))
	case *TLSVersion:
		return quote(string(*f))
	case *NameIn:
		return quote(string(*f))
	case *Owner:
		return quote(string(*f))
	case *MQTTVersion:
		return quote(string(*f))
	case *Forbidden:
		return quote(string(*f))
	case *Direction:
		return quote(string(*f))
	case fmt.Stringer:
		return quote(f.String())
	default:
		panic(fmt.Sprintf("config: a key of type %T", field))
	}
}

// quote writes a TOML string: literal where that needs no escapes.
func quote(s string) string {
	if strings.ContainsAny(s, `"\`) && !strings.ContainsAny(s, "'\n\r\t") {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
