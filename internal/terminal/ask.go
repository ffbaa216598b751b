package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNotConfirmed says that a person did not say yes.
var ErrNotConfirmed = errors.New("not confirmed: nothing was done")

// Confirm reads an answer, and returns ErrNotConfirmed where it is not yes.
func Confirm(ctx context.Context, in io.Reader) error {
	answer, err := ReadLine(ctx, in)
	if err != nil {
		return err
	}
	if answer := strings.ToLower(answer); answer != "yes" && answer != "y" {
		return ErrNotConfirmed
	}
	return nil
}

// ReadLine reads a line from in. A signal ends the wait for it.
func ReadLine(ctx context.Context, in io.Reader) (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		got <- line{strings.TrimSpace(text), err}
	}()
	select {
	case l := <-got:
		if l.text == "" && l.err != nil { // The end of the input.
			return "", fmt.Errorf("%w (%w)", ErrNotConfirmed, l.err)
		}
		return l.text, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%w (interrupted)", ErrNotConfirmed)
	}
}
