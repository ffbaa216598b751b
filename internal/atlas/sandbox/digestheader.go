package sandbox

import "strings"

// parseDigest splits an Authorization header of the scheme Digest into its fields, with names
// in lower case (RFC 9110 section 11.2). It is false for a header that is malformed, too long or
// names a field twice.
func parseDigest(header string) (map[string]string, bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, AuthDigest) || len(header) > maxDigestHeader {
		return nil, false
	}
	fields := map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := fields[name]; !ok || name == "" || twice {
			return nil, false
		}
		if fields[name], rest, ok = digestValue(strings.TrimLeft(after, " \t")); !ok {
			return nil, false
		}
	}
	return fields, true
}

// digestValue reads one value, quoted or not, and the comma behind it. It returns what follows.
func digestValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return strings.TrimSpace(value), strings.TrimSpace(rest), true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			rest = strings.TrimSpace(s[i+1:])
			after, comma := strings.CutPrefix(rest, ",")
			return b.String(), strings.TrimSpace(after), comma || rest == ""
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
