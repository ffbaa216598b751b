package door

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
)

// slack takes a slash command of Slack (https://docs.slack.dev/interactivity/implementing-slash-commands/,
// https://docs.slack.dev/authentication/verifying-requests-from-slack/).
type slack struct{ *door }

// Headers of Slack.
const (
	slackSignature = "X-Slack-Signature"
	slackTimestamp = "X-Slack-Request-Timestamp"
)

func (s slack) verify(q *request) error {
	keys, err := s.secretsIn(s.Secret)
	if err != nil {
		return err
	}
	stamp := q.Header.Get(slackTimestamp)
	signatures := oneHex(q.Header.Get(slackSignature), "v0=")
	if !anyKey(keys, signatures, func(key []byte) []byte { return sum256(key, []byte("v0:"+stamp+":"), q.body) }) {
		return unauthorized("the header " + slackSignature + " is missing, or not that of this body")
	}
	return s.inTime(stamp, slackTimestamp, q.now)
}

// slackFields are the fields of a command that policies see. Of the others, token and response_url are secrets.
var slackFields = []string{
	"command", "text", "user_id", "user_name", "team_id", "team_domain", "enterprise_id", "channel_id", "channel_name", "api_app_id", "trigger_id",
}

func (s slack) read(q *request) ([]Event, error) {
	form, err := url.ParseQuery(string(q.body))
	if err != nil {
		return nil, malformed("the body is no form")
	}
	if form.Get("ssl_check") == "1" {
		return nil, nil
	}
	data := map[string]any{}
	for _, name := range slackFields {
		data[name] = form.Get(name)
	}
	id := form.Get("trigger_id")
	if id == "" || form.Get("command") == "" {
		return nil, malformed("the body is no slash command: command and trigger_id are required")
	}
	return []Event{{ID: id, Data: data}}, nil
}

// accept answers as Slack shows it, to the one who has typed the command.
func (s slack) accept(w http.ResponseWriter, _ *request, ids []string) {
	if len(ids) == 0 {
		w.WriteHeader(http.StatusOK)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"response_type": "ephemeral", "text": stored(ids[0])})
}

// stored is what a person reads whose command was taken in.
func stored(id string) string {
	return "Event " + id + " is stored. What becomes of it, the policies say: worker job ls."
}

func (s slack) sign(q *http.Request, one sample) error {
	stamp := strconv.FormatInt(one.now.Unix(), 10)
	q.Header.Set(slackTimestamp, stamp)
	q.Header.Set(slackSignature, "v0="+hex.EncodeToString(sum256([]byte(one.secret), []byte("v0:"+stamp+":"), one.body)))
	return nil
}
