package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"rekey/internal/redact"
)

// worldBits are the permission bits of a file that let every user read or change it.
const worldBits fs.FileMode = 0o006

// Secret looks at the place of a secret: it must be there, hold something, and not be open to every user.
func Secret(place redact.Place, lookupEnv func(string) (string, bool)) Finding {
	key, ref := place.Key, place.Ref
	f := Finding{What: key, Status: OK, Found: ref.String()}
	if _, err := place.Read(lookupEnv); err != nil {
		f.Status, f.Found = Failed, err.Error()
		f.Do = "put the secret there, readable by the worker's user alone, and nothing else"
		switch {
		case errors.Is(err, fs.ErrPermission):
			f.Do = "give " + ref.File + " to the worker's user (chown; in Kubernetes fsGroup and defaultMode: 0440)"
		case ref.Env != "":
			f.Do = "set " + ref.Env + " in the worker's environment, or name a file with " + strings.TrimSuffix(key, "_env") + "_file"
		}
		return f
	}
	if ref.File == "" {
		return f
	}
	info, err := os.Stat(ref.File)
	if err != nil { // It could be read a moment ago.
		f.Status, f.Found = Failed, err.Error()
		return f
	}
	if info.Mode().Perm()&worldBits != 0 {
		f.Status, f.Found = Warning, fmt.Sprintf("%s is open to every user of the machine (mode %04o)", ref, info.Mode().Perm())
		f.Do = "chmod o-rwx " + ref.File + " (in Kubernetes: defaultMode: 0440 of the volume)"
	}
	return f
}
