package jobs

import "rekey/internal/secret"

// MostTexts is how many texts of an event TextsIn returns: more secrets than make a payload worth a copy.
const MostTexts = 1_000

// TextsIn are the texts of decoded JSON, names and values, each once: whatever could be a secret of an
// event that was not looked at to its end.
func TextsIn(data any) []secret.Value {
	var all []secret.Value
	distinct := map[string]bool{}
	EachText(data, func(text string) bool {
		if !distinct[text] {
			distinct[text] = true
			all = append(all, secret.New(text))
		}
		return len(all) < MostTexts
	})
	return all
}

// EachText calls yield for each text of decoded JSON, names and values, until it returns false. It
// reports whether it never did.
func EachText(data any, yield func(string) bool) bool {
	switch v := data.(type) {
	case string:
		return yield(v)
	case []any:
		for _, one := range v {
			if !EachText(one, yield) {
				return false
			}
		}
	case map[string]any:
		for name, one := range v {
			if !yield(name) || !EachText(one, yield) {
				return false
			}
		}
	}
	return true
}
