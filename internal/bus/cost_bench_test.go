package bus

import (
	"fmt"
	"strings"
	"testing"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

// bigEvents are events of about a size, of several shapes.
func bigEvents(size int) map[string]string {
	fill := func(open, one, end string) string {
		return open + strings.Repeat(one+",", (size-len(open)-len(end))/(len(one)+1)-1) + one + end
	}
	members := func(name string) string {
		var b strings.Builder
		b.WriteString(`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{`)
		for i := 0; b.Len() < size-40; i++ {
			fmt.Fprintf(&b, `"%s%d":%d,`, name, i, i)
		}
		return b.String() + `"z":0}}`
	}
	return map[string]string{
		"ids":          fill(`{"projects":[`, `"0123456789abcdef01234567"`, `]}`),
		"objects":      fill(`{"a":[`, `{"name":"alert","severity":"high","n":12}`, `]}`),
		"tokens":       fill(`{"a":[`, `{"token":"aaaabbbbccccdddd"}`, `]}`),
		"members":      members("m"),
		"secret names": members("token"),
		"empty":        fill(`{"a":[`, `[]`, `]}`),
		"nested":       fill(`{"a":[`, strings.Repeat("[", 29)+strings.Repeat("]", 29), `]}`),
		"one text":     `{"text":"` + strings.Repeat("x ", size/2-20) + `"}`,
		"json in text": `{"text":"` + strings.Repeat(`{\"a\":\"b\"} `, size/16) + `"}`,
		"no json":      strings.Repeat("token=abcdefgh12345678 ", size/23),
		"backslashes":  `{"a":"` + strings.Repeat(`\\`, size/2-10) + `"}`,
		"shapes":       fill(`{"a":[`, `"mdb_sa_sk_0123456789abcdef0123456789abcdef01234567"`, `]}`),
	}
}

// BenchmarkLargeEvent is what an event costs apart from policies: to be read, to be looked through
// for credentials, and to become a dead letter.
func BenchmarkLargeEvent(b *testing.B) {
	n := names.New("rekey")
	for _, size := range []int{64 << 10, 512 << 10, 1 << 20} {
		for name, data := range bigEvents(size) {
			m := event.Message{Subject: n.Event("incident"), Data: []byte(data), Seq: 1, At: moment}
			b.Run(fmt.Sprintf("read/%s/%d", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					_, err := event.Read(n, m)
					if (err != nil) != (name == "no json") {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("dirty/%s/%d", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					m.Dirty()
				}
			})
			b.Run(fmt.Sprintf("dead/%s/%d", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					deadEvent(n, m, jobs.Event{}, &jobs.Malformed{Detail: "x"}, jobs.MaxEventBytes)
				}
			})
		}
	}
}

// BenchmarkManyMistakes is an event with a mistake in each of its members.
func BenchmarkManyMistakes(b *testing.B) {
	n := names.New("rekey")
	for _, size := range []int{64 << 10, 1 << 20} {
		var text strings.Builder
		text.WriteString(`{"kind":"jwks.revoke",`)
		for i := 0; text.Len() < size-40; i++ {
			fmt.Fprintf(&text, "\"m%d\":%d,\n", i, i)
		}
		text.WriteString(`"z":0}`)
		m := event.Message{Subject: n.Event("incident"), Data: []byte(text.String()), Seq: 1, At: moment}
		b.Run(fmt.Sprint(size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				e, err := event.Read(n, m)
				if err == nil {
					b.Fatal("there is no mistake")
				}
				deadEvent(n, m, e, err, jobs.MaxEventBytes)
			}
		})
	}
}
