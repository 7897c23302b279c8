package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// The units of sizes.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// UnmarshalText reads "64MiB", "512 KiB", "100B" or a plain number of bytes.
// Units of a thousand are refused: what is meant by MB differs by who reads it.
func (s *Size) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	number := strings.TrimRight(t, "BbGgiIKkMmTtPp")
	unit := t[len(number):]
	var factor Size
	switch unit {
	case "", "B":
		factor = 1
	case "KiB":
		factor = KiB
	case "MiB":
		factor = MiB
	case "GiB":
		factor = GiB
	default:
		if meant, ok := map[string]string{"K": "KiB", "M": "MiB", "G": "GiB"}[strings.ToUpper(unit[:1])]; ok {
			return fmt.Errorf("%q has no known unit; did you mean %q? (units: B, KiB, MiB, GiB)", t, strings.TrimSpace(number)+meant)
		}
		return fmt.Errorf("%q has no known unit; write B, KiB, MiB or GiB", t)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > int64(math.MaxInt64/factor) {
		return fmt.Errorf("%q is larger than any disk", t)
	}
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no size; write a whole number with a unit, such as \"64MiB\"", t)
	}
	*s = Size(n) * factor
	return nil
}

// String writes the size in the largest unit that it is a whole number of.
func (s Size) String() string {
	switch {
	case s == 0:
		return "0"
	case s%GiB == 0:
		return strconv.FormatInt(int64(s/GiB), 10) + "GiB"
	case s%MiB == 0:
		return strconv.FormatInt(int64(s/MiB), 10) + "MiB"
	case s%KiB == 0:
		return strconv.FormatInt(int64(s/KiB), 10) + "KiB"
	default:
		return strconv.FormatInt(int64(s), 10) + "B"
	}
}

// Budget is a part of a file system: a share of its size, or a size. Both zero
// means no budget.
type Budget struct {
	Percent int // 1 to 100, or 0 when Bytes counts
	Bytes   Size
}

// UnmarshalText reads "80%" or a size; "0" is no budget.
func (b *Budget) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	if share, ok := strings.CutSuffix(t, "%"); ok {
		n, err := strconv.Atoi(strings.TrimSpace(share))
		if err != nil || n < 1 || n > 100 {
			return fmt.Errorf("%q is no share of a disk; write a whole number from 1%% to 100%%", t)
		}
		*b = Budget{Percent: n}
		return nil
	}
	var s Size
	if err := s.UnmarshalText([]byte(t)); err != nil {
		return fmt.Errorf("%w; a share such as \"80%%\" is possible too", err)
	}
	*b = Budget{Bytes: s}
	return nil
}

// String writes the budget as it is read.
func (b Budget) String() string {
	if b.Percent > 0 {
		return strconv.Itoa(b.Percent) + "%"
	}
	return b.Bytes.String()
}
