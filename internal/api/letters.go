package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// LetterList is the latest dead letters, the latest first.
type LetterList struct {
	DeadLetters []bus.DeadLetter `json:"dead_letters"`
	More        bool             `json:"more"` // There are more than the limit lets through.
}

// letters answers with the latest dead letters that the client may see.
func (s *Server) letters(c *call) error {
	q, err := c.query("limit")
	if err != nil {
		return err
	}
	most, err := limit(q)
	if err != nil {
		return mistakes(http.StatusBadRequest, CodeMalformed, err)
	}
	ctx, cancel := c.within()
	defer cancel()
	look := most + 1
	if !c.client.Unlimited() {
		look = maxLimit // Of which some are hidden.
	}
	found, err := c.fleet.StoredDeadLetters(ctx, look)
	if err != nil {
		return err
	}
	list := LetterList{DeadLetters: []bus.DeadLetter{}}
	for _, letter := range found {
		switch sees, err := c.client.Sees(ctx, c.fleet, &letter); {
		case err != nil:
			return err
		case !sees:
			continue
		case len(list.DeadLetters) == most:
			list.More = true
		default:
			c.fleet.Settle(ctx, &letter)
			list.DeadLetters = append(list.DeadLetters, letter)
		}
		if list.More {
			break
		}
	}
	writeJSON(c.w, http.StatusOK, "", list)
	return nil
}

// letter is the dead letter that the path names, if the client may have to do with it.
func (c *call) letter(ctx context.Context) (uint64, error) {
	none := problem(http.StatusNotFound, CodeNotFound, "there is no such dead letter")
	number, err := strconv.ParseUint(c.r.PathValue("n"), 10, 64)
	if err != nil {
		return 0, none
	}
	letter, err := c.fleet.DeadLetter(ctx, number)
	if errors.Is(err, jobs.ErrNotFound) {
		return 0, none
	}
	if err != nil {
		return 0, err
	}
	sees, err := c.client.Sees(ctx, c.fleet, &letter)
	if err == nil && !sees {
		err = none
	}
	return number, err
}

// replay repeats what a dead letter is about.
func (s *Server) replay(c *call) error {
	return c.onLetter(jobs.ActionReplay, func(ctx context.Context, number uint64, op jobs.Operation) (any, error) {
		return c.fleet.Replay(ctx, number, op)
	})
}

// Dropped is a dead letter that was dropped.
type Dropped struct {
	Number uint64 `json:"number"`
}

// drop removes a dead letter.
func (s *Server) drop(c *call) error {
	return c.onLetter(jobs.ActionDrop, func(ctx context.Context, number uint64, op jobs.Operation) (any, error) {
		return Dropped{Number: number}, c.fleet.Drop(ctx, number, op)
	})
}

// onLetter does something to a dead letter.
func (c *call) onLetter(action jobs.Action, do func(context.Context, uint64, jobs.Operation) (any, error)) error {
	op, err := c.operation(action)
	if err != nil {
		return err
	}
	ctx, cancel := c.within()
	defer cancel()
	number, err := c.letter(ctx)
	if err != nil {
		return err
	}
	done, err := do(ctx, number, op)
	switch {
	case errors.Is(err, jobs.ErrNotFound), errors.Is(err, fleet.ErrNotReplayable):
		p := problem(http.StatusConflict, CodeConflict, strings.TrimSpace(err.Error()))
		p.DeadLetter = number
		return p
	case err != nil:
		return err
	}
	writeJSON(c.w, http.StatusOK, "", done)
	return nil
}
