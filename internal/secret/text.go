package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

// byteOrderMark is what some editors begin a text in UTF-8 with. It is no part of it.
const byteOrderMark = "\xef\xbb\xbf"

// ContentError says what is wrong with what a file, or a variable, holds. It repeats nothing of it.
type ContentError string

// Error says it, of "it".
func (e ContentError) Error() string { return string(e) }

// errUTF16 says what such a file needs. PowerShell writes one with > and Out-File.
const errUTF16 ContentError = "it is UTF-16: save it as UTF-8"

// Text returns what a file that people write holds, without a byte order mark at its beginning. It is an error when it
// is UTF-16, or no text at all: a ContentError.
func Text(content []byte) (string, error) {
	if text, marked := bytes.CutPrefix(content, []byte(byteOrderMark)); marked {
		content = text
	}
	at := bytes.IndexByte(content, 0)
	switch {
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}), bytes.HasPrefix(content, []byte{0xfe, 0xff}), isUTF16(content):
		return "", errUTF16
	case at >= 0:
		return "", ContentError(fmt.Sprintf("it is no text: byte %d is zero", at+1))
	}
	return string(content), nil
}

// isUTF16 recognises UTF-16 without a byte order mark: every second byte of ASCII in it is zero.
func isUTF16(content []byte) bool {
	if len(content) < 4 || len(content)%2 != 0 {
		return false
	}
	var zeros [2]int
	for i, b := range content {
		if b == 0 {
			zeros[i%2]++
		}
	}
	return zeros[0] == len(content)/2 || zeros[1] == len(content)/2
}

// lineEnds are those of Windows and of old Macs.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// OneLine returns the one line of a text that is not empty, without the white space at its end; "" when there is none.
// It is a ContentError when there are more.
func OneLine(text string) (string, error) {
	found, number := "", 0
	for line := range strings.Lines(lineEnds.Replace(text)) {
		number++
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		switch {
		case line == "":
		case found != "":
			return "", ContentError(fmt.Sprintf("line %d holds something as well: it must be one line, the secret and nothing else", number))
		default:
			found = line
		}
	}
	return found, nil
}

// ReadFile returns what is in a text file of at most limit bytes, as Text does. Its errors do not name the path, which the
// caller does.
func ReadFile(path string, limit int) (string, error) {
	content, err := readFile(path, limit)
	if err != nil {
		return "", err
	}
	return Text(content)
}

func readFile(path string, limit int) (content []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err = io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(content) > limit {
		return nil, ContentError(fmt.Sprintf("it is larger than %d KiB", limit>>10))
	}
	return content, nil
}

// withoutPath takes the path out of an error of package os: the caller names it already.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
