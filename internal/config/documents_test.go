package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rekey/internal/config"
)

// yamlBlock is a block of YAML in a document, and topKey a key of its first level.
var (
	yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	topKey    = regexp.MustCompile(`(?m)^([a-z_]+):`)
)

// TestDocumentsNameKnownKeys: what the documents show of a configuration has no key that is not known.
func TestDocumentsNameKnownKeys(t *testing.T) {
	t.Parallel()
	blocks := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
				// The values of the chart begin like a configuration, and other blocks are of policies.
				if keys := topKey.FindAllStringSubmatch(block[1], -1); len(keys) == 0 || strings.Contains(block[1], "\nnetworkPolicy:") || keys[0][1] == "when" {
					continue
				}
				blocks++
				var invalid *config.Invalid
				if _, err := config.Parse(page, []byte(block[1])); errors.As(err, &invalid) && strings.Contains(err.Error(), "unknown key") {
					t.Errorf("%v\n%s", err, block[1])
				}
			}
		}
	}
	if blocks < 20 {
		t.Errorf("%d blocks were found", blocks)
	}
}
