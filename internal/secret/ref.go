package secret

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxFileBytes bounds a secret's file. The longest that Rekey knows are PEM keys and tokens
// of a few KiB; a larger file is a wrong path.
const maxFileBytes = 64 << 10

// Ref names where a secret is kept: in a file, or in an environment variable. The zero Ref
// names no secret. Not more than one of the two may be set.
type Ref struct {
	// File is the path of a file that holds the secret and nothing else; "" when it is not in a file.
	File string
	// Env is the name of an environment variable; "" when it is not in one.
	Env string
}

// IsZero reports whether the Ref names no secret.
func (r Ref) IsZero() bool { return r == Ref{} }

// String says where the secret is kept: "file /run/…" or "environment variable X".
func (r Ref) String() string {
	switch {
	case r.File != "" && r.Env != "":
		return "file " + r.File + " or environment variable " + r.Env
	case r.File != "":
		return "file " + r.File
	case r.Env != "":
		return "environment variable " + r.Env
	}
	return "nowhere"
}

// Read returns the secret, which is one line of text. White space at its end, such as the newline that editors and echo
// add, does not belong to it, nor do empty lines. It is an error when the file cannot be read, is larger than 64 KiB or
// no text in UTF-8, when the variable is not set, when nothing is in either, or a second line, and when the Ref names
// none or two places. Errors name the place and never anything that was found there.
// The environment is asked through lookupEnv, which is os.LookupEnv outside tests.
func (r Ref) Read(lookupEnv func(string) (string, bool)) (Value, error) {
	return r.value(lookupEnv, OneLine)
}

// ReadLines is Read for a secret that may have several lines, such as a PEM file.
func (r Ref) ReadLines(lookupEnv func(string) (string, bool)) (Value, error) {
	return r.value(lookupEnv, func(text string) (string, error) { return strings.TrimRightFunc(text, unicode.IsSpace), nil })
}

func (r Ref) value(lookupEnv func(string) (string, bool), clean func(string) (string, error)) (Value, error) {
	text, err := r.read(lookupEnv)
	if err == nil {
		text, err = Text([]byte(text))
	}
	if err == nil {
		text, err = clean(text)
	}
	if err != nil {
		return Value{}, fmt.Errorf("reading a secret from %s: %w", r, err)
	}
	if text == "" {
		return Value{}, fmt.Errorf("reading a secret from %s: it is empty", r)
	}
	return New(text), nil
}

func (r Ref) read(lookupEnv func(string) (string, bool)) (string, error) {
	switch {
	case r.File != "" && r.Env != "":
		return "", errors.New("only one of them may be set")
	case r.File != "":
		content, err := readFile(r.File, maxFileBytes)
		return string(content), err
	case r.Env != "":
		text, ok := lookupEnv(r.Env)
		if !ok {
			return "", errors.New("it is not set")
		}
		return text, nil
	}
	return "", errors.New("neither a file nor an environment variable is named")
}

// reference is how a secret in a store is named.
var reference = regexp.MustCompile(`^vault:[A-Za-z0-9_-][A-Za-z0-9_. -]*(/[A-Za-z0-9_-][A-Za-z0-9_. -]*)*#[A-Za-z0-9_.-]{1,128}$`)

// IsReference reports whether a text names a secret in a store, and is none itself: vault:PATH#FIELD.
func IsReference(text string) bool { return len(text) <= 1024 && reference.MatchString(text) }
