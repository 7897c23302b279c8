package auth

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	// The two slow hashes that the standard library does not have, from those who make it.
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Method is a way to keep a password.
type Method string

// The methods. Their costs are the least that OWASP recommends: more would make a broker that
// was started again slow to let in a hundred thousand devices.
const (
	// Argon2id takes 19 MiB of memory and two passes.
	Argon2id Method = "argon2id"
	// Bcrypt takes a cost of 10, and passwords of at most 72 bytes.
	Bcrypt Method = "bcrypt"
	// PBKDF2 is with SHA-512 and 210,000 iterations. All versions of Mosquitto from 2.0 on
	// read it.
	PBKDF2 Method = "pbkdf2"
)

const (
	argonMemory, argonTime, argonThreads = 19 << 10, 2, 1 // KiB, passes
	bcryptCost                           = 10
	pbkdf2Iterations                     = 210_000
	saltSize, argonSize                  = 16, 32 // bytes
	// mosquittoSalt is the only size that Mosquitto 2.0 takes for right, 12 bytes.
	mosquittoSalt = 12
)

// Hash makes what a file keeps of a password, with a salt of its own. It takes as long as
// [Passwords.Check] will. Errors: a method that there is not, a password that bcrypt cannot
// take.
func Hash(m Method, password []byte) (string, error) {
	salt := make([]byte, saltSize)
	if m == PBKDF2 {
		salt = salt[:mosquittoSalt]
	}
	rand.Read(salt)
	switch m {
	case Argon2id:
		key := argon2.IDKey(password, salt, argonTime, argonMemory, argonThreads, argonSize)
		return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
	case Bcrypt:
		if !fitsBlowfish(password) {
			return "", fmt.Errorf("bcrypt has room for %d bytes of a password, none of them zero; choose another password or method", blowfishRoom)
		}
		hash, err := bcrypt.GenerateFromPassword(password, bcryptCost)
		return string(hash), err
	case PBKDF2:
		key, err := pbkdf2.Key(sha512.New, string(password), salt, pbkdf2Iterations, sha512.Size)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("$7$%d$%s$%s", pbkdf2Iterations, base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(key)), nil
	}
	return "", fmt.Errorf("%q is no method; there are %s, %s and %s", m, Argon2id, Bcrypt, PBKDF2)
}

// hash is what a file keeps of a password.
type hash interface{ matches(password []byte) bool }

// errForm says that a text is no hash, and never what it is: it may be a password.
var errForm = errors.New("this is no hash of a password that is known here")

func parseHash(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) < 3 || parts[0] != "" {
		return nil, errForm
	}
	switch kind, rest := parts[1], parts[2:]; {
	case kind == "argon2id" && len(rest) == 4:
		return parseArgon(rest)
	case (kind == "2a" || kind == "2b" || kind == "2y") && len(rest) == 2:
		return parseBlowfish(text)
	case kind == "7" && len(rest) == 3:
		return parseStretched(rest)
	case kind == "6" && len(rest) == 2:
		salt, key, err := saltAndKey(base64.StdEncoding, rest)
		if err != nil || len(key) != sha512.Size {
			return nil, errForm // $6$ of crypt(3), for instance, which is another one
		}
		return &salted{salt, key}, nil
	}
	return nil, errForm
}

func saltAndKey(code *base64.Encoding, parts []string) (salt, key []byte, err error) {
	if salt, err = code.DecodeString(parts[0]); err == nil {
		key, err = code.DecodeString(parts[1])
	}
	return salt, key, err
}

// argon is $argon2id$v=19$m=MEMORY,t=TIME,p=THREADS$SALT$KEY.
type argon struct {
	memory, time uint32 // KiB, passes
	threads      uint8
	salt, key    []byte
}

func parseArgon(parts []string) (hash, error) {
	if parts[0] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, fmt.Errorf("a hash with argon2id has v=%d", argon2.Version)
	}
	var numbers [3]uint64
	given := strings.Split(parts[1], ",")
	if len(given) != len(numbers) {
		return nil, errForm
	}
	for i, name := range []string{"m=", "t=", "p="} {
		value, ok := strings.CutPrefix(given[i], name)
		n, err := strconv.ParseUint(value, 10, 32)
		if !ok || err != nil {
			return nil, errForm
		}
		numbers[i] = n
	}
	m, t, p := numbers[0], numbers[1], numbers[2]
	if m < 8*p || m > 1<<20 || t < 1 || t > 64 || p < 1 || p > 64 {
		return nil, errors.New("a hash with argon2id has m from 8 times p to 1048576 (KiB), t from 1 to 64 and p from 1 to 64")
	}
	salt, key, err := saltAndKey(base64.RawStdEncoding, parts[2:])
	if err != nil {
		return nil, errForm
	}
	if len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 64 {
		return nil, errors.New("a hash with argon2id has a salt of 8 to 64 bytes and a result of 16 to 64")
	}
	return &argon{uint32(m), uint32(t), uint8(p), salt, key}, nil
}

func (a *argon) matches(password []byte) bool {
	key := argon2.IDKey(password, a.salt, a.time, a.memory, a.threads, uint32(len(a.key)))
	return subtle.ConstantTimeCompare(key, a.key) == 1
}

// blowfish is bcrypt: $2b$COST$, 22 characters of salt, and 31 of result.
type blowfish string

const (
	// blowfishRoom is how many bytes of a password count. What follows is not looked at, so
	// whoever takes longer ones takes more than one.
	blowfishRoom = 72
	blowfishSize = 60 // of the text
	blowfishMost = 16 // of cost, which is 4 s or so

	blowfishAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

func parseBlowfish(text string) (hash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != blowfishSize || strings.Trim(text[len("$2b$10$"):], blowfishAlphabet) != "" {
		return nil, errForm
	}
	if cost > blowfishMost {
		return nil, fmt.Errorf("a hash with bcrypt has a cost of at most %d; each more doubles the time", blowfishMost)
	}
	return blowfish(text), nil
}

// fitsBlowfish tells whether all of a password counts, and counts once: bcrypt repeats one
// until it has what it needs, with a zero between.
func fitsBlowfish(password []byte) bool {
	return len(password) <= blowfishRoom && bytes.IndexByte(password, 0) < 0
}

func (b blowfish) matches(password []byte) bool {
	// It takes as long for one that cannot be right.
	return bcrypt.CompareHashAndPassword([]byte(b), password) == nil && fitsBlowfish(password)
}

// stretched is Mosquitto's $7$ITERATIONS$SALT$KEY: PBKDF2.
type stretched struct {
	iterations int
	salt, key  []byte
}

func parseStretched(parts []string) (hash, error) {
	iterations, err := strconv.ParseUint(parts[0], 10, 32)
	if err != nil {
		return nil, errForm
	}
	if iterations < 1 || iterations > 10_000_000 {
		return nil, errors.New("a hash with PBKDF2 has 1 to 10000000 iterations")
	}
	salt, key, err := saltAndKey(base64.StdEncoding, parts[1:])
	if err != nil || len(key) != sha512.Size {
		return nil, errForm
	}
	return &stretched{int(iterations), salt, key}, nil
}

func (s *stretched) matches(password []byte) bool {
	key, err := pbkdf2.Key(sha512.New, string(password), s.salt, s.iterations, len(s.key))
	return err == nil && subtle.ConstantTimeCompare(key, s.key) == 1
}

// salted is Mosquitto's old $6$SALT$KEY.
type salted struct{ salt, key []byte }

func (s *salted) matches(password []byte) bool {
	key := sha512.Sum512(slices.Concat(password, s.salt))
	return subtle.ConstantTimeCompare(key[:], s.key) == 1
}
