package leaks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/leaks"
)

const (
	pair = "abcdefgh:7d1f3a52-9b0c-4eef-8a11-3c5e7f90abcd"
	uri  = "mongodb+srv://u:canary@cluster0.abcde.mongodb.net/"
)

// TestRead: every form of a list, and which of a finding's texts is the value.
func TestRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string // Lines, rule and value.
	}{
		{"lines", "\ufeffone-value\r\n\n  two values \n\none-value", []string{"[1 5]  one-value", "[3]  two values"}},
		{"gitleaks", "[\n {\"RuleID\":\"a\",\"Secret\":\"one\",\"Line\":\"x\",\"Entropy\":3.5},\n\n {\"RuleID\":\"b\",\"Secret\":\"two\"}\n]\n", []string{"[2] a one", "[4] b two"}},
		{"gitleaks on one line", `[{"RuleID":"a","Secret":"one"},{"RuleID":"b","Secret":"two"}]`, []string{"[1] a one", "[1] b two"}},
		{"password of a string that is in the match", `[{"RuleID":"a","Secret":"canary","Match":"` + uri + `"}]`, []string{"[1] a " + uri}},
		{"value with some code around", `[{"RuleID":"a","Secret":"mdb_sa_sk_canary0123","Match":"x = mdb_sa_sk_canary0123"}]`, []string{"[1] a mdb_sa_sk_canary0123"}},
		{
			"TruffleHog", "{\"DetectorName\":\"MongoDB\",\"Verified\":true,\"Raw\":\"" + uri + "\",\"RawV2\":\"\"}\n{\"DetectorName\":\"CustomRegex\",\"Raw\":\"abcdefgh\",\"RawV2\":\"" + pair + "\"}\n",
			[]string{"[1] MongoDB " + uri, "[2] CustomRegex " + pair},
		},
		{"TruffleHog, several lines each", "{\n \"DetectorName\": \"PrivateKey\",\n \"Raw\": \"a\\nb\"\n}\n{\n \"Raw\": \"c\"\n}", []string{"[1] PrivateKey a\nb", "[5]  c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := leaks.Read([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, leak := range list {
				got = append(got, strings.Join([]string{fmt.Sprint(leak.Lines), leak.Rule, leak.Value.Reveal()}, " "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadBadLines: each bad line is named, and nothing of it is shown.
func TestReadBadLines(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", " \n\n", "there is no value in it"},
		{"too long", "ok-value\n" + strings.Repeat("canary", 3000), "line 2: has a value of 18000 bytes; the limit is 16384"},
		{"bytes", "ok-value\ncanary\xff\xfe", "line 2: is no text in UTF-8"},
		{"mixed", "ok-value\n{\"Secret\":\"canary\"}", "line 2: begins as JSON in a list of values"},
		{"empty secret", `[{"Secret":" "}]`, "line 1: has no value"},
		{"neither", "{\"Secret\":\"a\"}\n{\"level\":\"info\",\"msg\":\"canary\"}", "line 2: has neither Secret"},
		{"another type", "{\"Secret\":[\"canary\"]}\n{\"Secret\":1}", "line 1: is no finding of gitleaks or TruffleHog\nline 2: is no finding"},
		{"no JSON", "{\"Secret\":\"a\"}\n\n{\"Secret\": canary}", "line 3: is no JSON, or ends too soon"},
		{"cut off", "[{\"Secret\":\"a\"},\n{\"Secret\":\"canary", "line 2: is no JSON, or ends too soon"},
		{"no end", "[{\"Secret\":\"a\"}\n", "is no JSON, or ends too soon"},
		{"many", strings.Repeat("{\"x\":1}\n", 30), "10 more lines are bad"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := leaks.Read([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v", err)
			}
		})
	}
}
