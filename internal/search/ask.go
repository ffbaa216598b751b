package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/jobs"
)

// AskTimeout is how long an answer is waited for.
const AskTimeout = time.Second

// ErrNoWorker says that no worker has answered a question.
var ErrNoWorker = errors.New("no worker answers")

// Ask asks the workers. The error is ErrNoWorker where none answers, and else what the worker says: an *Invalid, jobs.ErrNotFound
// or ErrTooSlow.
func Ask[T any](ctx context.Context, conn *bus.Conn, what string, question any) (answer T, err error) {
	data, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	msg, err := conn.JetStream().Conn().RequestWithContext(ctx, conn.Names().Query(what), data)
	if err != nil {
		return answer, fmt.Errorf("%w: %w", ErrNoWorker, err)
	}
	switch code, says := msg.Header.Get(micro.ErrorCodeHeader), msg.Header.Get(micro.ErrorHeader); code {
	case "":
		err = json.Unmarshal(msg.Data, &answer)
		return answer, err
	case "400":
		field, detail, _ := strings.Cut(says, ": ")
		return answer, &Invalid{field, detail}
	case "404":
		return answer, fmt.Errorf("%s%w", strings.TrimSuffix(says, jobs.ErrNotFound.Error()), jobs.ErrNotFound)
	case "504":
		return answer, ErrTooSlow
	default:
		return answer, fmt.Errorf("%w: %s", ErrNoWorker, says)
	}
}

// InMemory is given in place of a folder where nothing may be written to a disk. At most mostInMemory bytes are kept then.
const InMemory = ":memory:"

// Reader answers questions from the streams themselves, by a temporary file of what it needs of them.
type Reader struct {
	projection *projection
	end        func(broken bool) error
}

// NewReader returns a reader, which is to be closed. dir is "" or InMemory.
func NewReader(ctx context.Context, conn *bus.Conn, dir string) (*Reader, error) {
	p, end, err := open(ctx, conn, dir, zap.NewNop())
	if err != nil {
		return nil, err
	}
	return &Reader{p, end}, nil
}

// Close deletes the file.
func (r *Reader) Close() error { return r.end(false) }

// Read answers as Ask does.
func Read[T any](ctx context.Context, r *Reader, what string, question any) (answer T, err error) {
	data, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	if err := r.projection.follow(ctx, what); err != nil {
		return answer, err
	}
	const most = 1 << 30 // Nothing is sent.
	if data, err = r.projection.Answer(ctx, what, data, most); err != nil {
		return answer, err
	}
	err = json.Unmarshal(data, &answer)
	return answer, err
}
