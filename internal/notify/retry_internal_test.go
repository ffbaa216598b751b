package notify

import (
	"errors"
	"testing"
	"time"

	"rekey/internal/jobs"
)

func TestNext(t *testing.T) {
	t.Parallel()
	policy := jobs.RetryPolicy{Base: time.Second, Cap: 5 * time.Minute, MaxAttempts: 3, MaxAge: time.Hour}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name              string
		since             time.Duration // How old it is.
		count             uint64        // How often it was handed over. Default 1.
		receiver, message int           // Failures before this one.
		class             Class
		retryAfter        time.Duration
		random            float64
		wantDelay         time.Duration
		wantCode          string
		wantTarget        int           // Failures.
		wantPause         time.Duration // Of the receiver.
		wantMessage       int           // Failures.
	}{
		{name: "down", class: ClassUnavailable, wantDelay: time.Second + giveWay, wantTarget: 1, wantPause: time.Second},
		{name: "down again", class: ClassUnavailable, receiver: 3, wantDelay: 8*time.Second + giveWay, wantTarget: 4, wantPause: 8 * time.Second},
		{name: "down for long", class: ClassUnavailable, receiver: 100, wantDelay: 5*time.Minute + giveWay, wantTarget: 101, wantPause: 5 * time.Minute},
		{name: "jitter", class: ClassUnavailable, random: 0.8, wantDelay: 1200*time.Millisecond + giveWay, wantTarget: 1, wantPause: 1200 * time.Millisecond},
		{name: "it says when", class: ClassUnavailable, retryAfter: time.Minute, wantDelay: time.Minute + giveWay, wantTarget: 1, wantPause: time.Minute},
		{name: "it says too soon", class: ClassUnavailable, receiver: 3, retryAfter: time.Second, wantDelay: 8*time.Second + giveWay, wantTarget: 4, wantPause: 8 * time.Second},
		{name: "too old next time", class: ClassUnavailable, since: time.Hour - time.Second, wantDelay: time.Second + giveWay, wantCode: CodeExhausted, wantTarget: 1, wantPause: time.Second},
		{name: "down, at one that had its turn before", class: ClassUnavailable, count: 5, receiver: 2, wantDelay: 4*time.Second + giveWay, wantTarget: 3, wantPause: 4 * time.Second},
		{name: "fails on this one", class: ClassUnavailable, count: 5, wantDelay: 16 * time.Second, wantTarget: 1, wantPause: time.Second},
		{name: "fails on this one without end", class: ClassUnavailable, count: 1 << 63, wantDelay: 5 * time.Minute, wantTarget: 1, wantPause: time.Second},
		{name: "limited at this one", class: ClassUnavailable, count: 5, retryAfter: time.Second, wantDelay: time.Second + giveWay, wantTarget: 1, wantPause: time.Second},
		{name: "refused", class: ClassRefused, wantDelay: time.Second, wantMessage: 1},
		{name: "refused again, after the receiver was down", class: ClassRefused, receiver: 4, message: 1, wantDelay: 2 * time.Second, wantMessage: 2},
		{name: "refused too often", class: ClassRefused, message: 2, wantDelay: 4 * time.Second, wantCode: CodeRefused, wantMessage: 3},
		{name: "gone", class: ClassGone, wantDelay: time.Hour, wantCode: CodeGone, wantTarget: 1, wantPause: time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &Failure{Class: tt.class, Err: errors.New("HTTP 599")}
			if tt.retryAfter > 0 {
				f.RetryAt = now.Add(tt.retryAfter)
			}
			d := Delivery{Since: now.Add(-tt.since), Count: max(tt.count, 1)}
			got := next(policy, now, d, State{Failures: tt.receiver}, State{Failures: tt.message}, f, tt.random)
			if got.at.Sub(now) != tt.wantDelay || got.code != tt.wantCode || got.receiver.Failures != tt.wantTarget || got.message.Failures != tt.wantMessage {
				t.Errorf("next = %+v in %s", got, got.at.Sub(now))
			}
			if pause := got.receiver.RetryAt.Sub(now); tt.wantPause > 0 && pause != tt.wantPause || tt.wantPause == 0 && !got.receiver.RetryAt.IsZero() {
				t.Errorf("the receiver waits until %s", got.receiver.RetryAt)
			}
			if (got.code != "") != (got.why != nil) || got.receiver.Error != "HTTP 599" || !got.receiver.FailedAt.Equal(now) {
				t.Errorf("next = %+v", got)
			}
		})
	}
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	want := map[int]Class{410: ClassGone}
	for _, status := range []int{408, 425, 429} {
		want[status] = ClassUnavailable
	}
	for status := 300; status < 600; status++ {
		class := want[status]
		if class == "" && status >= 500 {
			class = ClassUnavailable
		} else if class == "" {
			class = ClassRefused
		}
		if got := (&Receiver{Type: TypeWebhook}).classOf(status); got != class {
			t.Errorf("(&Receiver{Type: TypeWebhook}).classOf(%d) = %s, want %s", status, got, class)
		}
	}
}
