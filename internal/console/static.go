package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

// static are the files of the pages, by paths that have a hash of their contents: a browser may keep them.
type static map[string]staticFile

type staticFile struct {
	path    string
	content []byte
}

func newStatic() (static, error) {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, err
	}
	files := static{}
	for _, entry := range entries {
		content, err := fs.ReadFile(staticFiles, path.Join("static", entry.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		files[entry.Name()] = staticFile{path: "/static/" + hex.EncodeToString(sum[:6]) + "/" + entry.Name(), content: content}
	}
	return files, nil
}

// contentTypes are those of the files; that of the machine's own tables may be another one.
var contentTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}

// ServeHTTP serves a file. One of another release is not found, rather than another one under its name.
func (s static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := s[r.PathValue("name")]
	if !ok || file.path != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", contentTypes[path.Ext(file.path)])
	_, _ = w.Write(file.content) // The reader may have left.
}
