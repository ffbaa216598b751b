package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Backoff of the ways that Rekey is compared with.
const (
	plainBase = time.Second
	plainCap  = 5 * time.Minute
)

// inSlots does n things, so many at once, until one fails.
func inSlots(ctx context.Context, n, slots int, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var all sync.WaitGroup
	for range slots {
		all.Go(func() {
			for range work {
				if err := do(ctx); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// plain is what most tools do: each job calls, and waits on its own for as long as its backoff
// or Retry-After says.
func plain(client *http.Client, url string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for backoff := plainBase; ; backoff = min(2*backoff, plainCap) {
			status, wait, err := call(ctx, client, url)
			if err != nil || status == http.StatusNoContent {
				return err
			}
			if status != http.StatusTooManyRequests {
				return fmt.Errorf("the stand-in API answered %d", status)
			}
			delay := max(wait, backoff/2+rand.N(backoff/2)) //nolint:gosec // Jitter needs no secrecy.
			timer := time.NewTimer(delay)
			select {
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			case <-timer.C:
			}
		}
	}
}

func call(ctx context.Context, client *http.Client, url string) (status int, retryAfter time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if seconds, bad := strconv.Atoi(res.Header.Get("Retry-After")); bad == nil {
		retryAfter = time.Duration(seconds) * time.Second
	}
	return res.StatusCode, retryAfter, errors.Join(err, res.Body.Close())
}

// retryable is hashicorp's client, patient enough for everything to get through.
func retryable(client *http.Client, url string) func(ctx context.Context) error {
	patient := retryablehttp.NewClient()
	patient.HTTPClient, patient.Logger, patient.RetryMax = client, nil, 1000
	patient.RetryWaitMin, patient.RetryWaitMax = plainBase, plainCap
	return func(ctx context.Context) error {
		req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
		if err != nil {
			return err
		}
		res, err := patient.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		return errors.Join(err, res.Body.Close())
	}
}
