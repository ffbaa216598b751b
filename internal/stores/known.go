package stores

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/policy"
	"rekey/internal/wire"
)

// maxRules bounds the rules with those of others, in bytes of JSON: a message may have 1 MiB by the server's default, its headers included.
const maxRules = 1<<20 - 4<<10

// Known are accounts and rotations that other workers have loaded.
type Known struct {
	Workers   map[string]time.Time `json:"workers"` // When each loaded them.
	Accounts  []policy.Account     `json:"accounts"`
	Rotations map[string]Rotation  `json:"rotations,omitempty"`
}

// LoadedAt is when the last of the workers loaded them.
func (k Known) LoadedAt() time.Time {
	return slices.MaxFunc(slices.Collect(maps.Values(k.Workers)), time.Time.Compare)
}

// Rules are the rules of a worker that has loaded them, as far as they go.
func (k Known) Rules(namespace string) (*jobs.Rules, error) {
	evaluator, err := wire.NewEvaluator(Rules{Accounts: k.Accounts, Rotations: k.Rotations}.Config(namespace))
	if err != nil {
		return nil, err
	}
	evaluator.Rules.LoadedAt = k.LoadedAt()
	return evaluator.Rules, nil
}

// Of returns what workers other than this one have loaded, the latest first: the latest of all, and what was loaded within jobs.ReloadTime.
func (f Rules) Of(worker string, now time.Time) []Known {
	latest := Known{Workers: map[string]time.Time{f.Worker: f.LoadedAt}, Accounts: f.Accounts, Rotations: f.Rotations}
	var list []Known
	for i, one := range append([]Known{latest}, f.Others...) {
		one.Workers = maps.Clone(one.Workers)
		maps.DeleteFunc(one.Workers, func(name string, at time.Time) bool {
			return name == worker || i > 0 && !now.Before(at.Add(jobs.ReloadTime))
		})
		same := slices.IndexFunc(list, func(k Known) bool {
			return slices.Equal(k.Accounts, one.Accounts) && maps.Equal(k.Rotations, one.Rotations)
		})
		switch {
		case len(one.Workers) == 0:
		case same >= 0:
			maps.Copy(list[same].Workers, one.Workers)
		default:
			list = append(list, one)
		}
	}
	return list
}

// fit drops what others have loaded, the oldest first, until the rest fits into a message.
func (f *Rules) fit() error {
	for ; len(f.Others) > 0; f.Others = f.Others[:len(f.Others)-1] {
		data, err := json.Marshal(f)
		if err != nil || len(data) <= maxRules {
			return err
		}
	}
	return nil
}
