package words_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// TestPlainWords finds words of the list, with file, line and a better word for each.
func TestPlainWords(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(path, d.Name())
		}
		read, ok := reader(d.Name())
		if !ok {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, found := range find(read(content)) {
			t.Errorf("%s:%s", filepath.ToSlash(path[len(root)+1:]), found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 300 {
		t.Fatalf("only %d files were read", files)
	}
}

// skipFolder leaves out what others wrote or what is no text of ours: fuzzing inputs, catalogues of vendors' events.
func skipFolder(path, name string) error {
	if path == filepath.Join(root, "internal", "words") || name == ".git" || name == "catalogue" || name == "fuzz" || name == "bin" || name == "dist" {
		return filepath.SkipDir
	}
	return nil
}

func TestFind(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // The word that is found; empty for none.
	}{
		{"a person without a name", "told in the log, where nobody looks", "nobody"},
		{"an identifier", "errNobody", "Nobody"},
		{"over a line break of a comment", "// An event that comes\n// again is one job.", "comes again"},
		{"over a concatenation", `"it is " + "told so"`, "is told"},
		{"told apart", `"shutdown is told apart from failure"`, ""},
		{"a stand-in", "// a stand-in for the API, which stands in for the vendor's", ""},
		{"a sign for something", "// * stands for one token", ""},
		{"a place", "// the sealed value stands in the job", "stands"},
		{"a state", "// how a job stands", "stands"},
		{"a state in an identifier", "jobStanding", "Standing"},
		{"understanding", "// what it cannot understand", ""},
		{"what is no X is none", "// What is no traceparent is none.", "What is no"},
		{"there is none", "// 0: there is none", ""},
		{"forever", "// it waits forever", ""},
		{"a full stream", `"NATS has no room"`, "no room"},
		{"a word in between", `"throw a dead letter away"`, "throw a dead letter away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := tt.text
			if !strings.HasPrefix(source, "//") && !strings.HasPrefix(source, `"`) {
				source = "// " + source
				if !strings.Contains(tt.text, " ") {
					source = tt.text
				}
			}
			got := find(readGo([]byte(source)))
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) == 0 || !strings.Contains(got[0], `"`+tt.want+`"`)) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

func TestQuotedTextsPass(t *testing.T) {
	if got := find(readMarkdown([]byte("| `nobody` | now |\n"))); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestFindNamesTheLine(t *testing.T) {
	got := find(readText([]byte("# one\n# somebody\n# two comes\n# again\n")))
	if len(got) != 2 || !strings.HasPrefix(got[0], `2: "somebody"`) || !strings.HasPrefix(got[1], `3: "comes again"`) {
		t.Errorf("got %q", got)
	}
}
