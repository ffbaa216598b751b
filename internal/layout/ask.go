package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Asker asks the JetStream API. The error is a *ForbiddenError where that is not allowed, as far as this is known.
type Asker interface {
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
}

// Ask asks the JetStream API, whose operation is the rest of a subject, and decodes the answer. An error of the server's
// is a *jetstream.APIError.
func Ask[T any](ctx context.Context, a Asker, operation string, question any) (answer T, err error) {
	var data []byte
	if question != nil {
		if data, err = json.Marshal(question); err != nil {
			return answer, err
		}
	}
	if data, err = a.Request(ctx, jetstream.DefaultAPIPrefix+operation, data); err != nil {
		return answer, err
	}
	var refusal struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &refusal); err != nil {
		return answer, fmt.Errorf("reading the answer to %s: %w", operation, err)
	}
	if refusal.Error != nil {
		return answer, refusal.Error
	}
	err = json.Unmarshal(data, &answer)
	return answer, err
}

// HasCode reports whether an error is one of the server's with this code.
func HasCode(err error, code jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == code
}
