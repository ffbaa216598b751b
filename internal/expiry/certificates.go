package expiry

import (
	"context"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// Certificates are those that the API made for a database user.
type Certificates struct {
	// Name is what the metric and the log call them.
	Name string
	// Account is the name of the account that reads them.
	Account string
	// ProjectID and Username say which database user it is.
	ProjectID, Username string
}

// lookAtCertificates reads when the watched certificates end, and reports whether none is to be read again soon.
func (w *Watch) lookAtCertificates(ctx context.Context) (all bool) {
	w.mu.Lock()
	list := w.certificates
	w.mu.Unlock()
	all = true
	for _, c := range list {
		ends, err := w.cfg.Reader.CertificatesEnd(ctx, c.Account, c.ProjectID, c.Username)
		if ctx.Err() != nil {
			return all
		}
		if err != nil {
			all = w.unreadCertificates(c, err) && all
			continue
		}
		w.keepCertificates(c, ends)
	}
	return all
}

// keepCertificates shows what was read. The API leaves out what has expired: where it lists nothing, the last one ended by now at the latest.
func (w *Watch) keepCertificates(c Certificates, ends time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, none := time.Now(), ends.IsZero()
	if none {
		if ends = w.last[c]; ends.IsZero() || ends.After(now) {
			ends = now
		}
	}
	w.last[c] = ends
	w.showCertificates()
	fields := []zap.Field{zap.String("certificate", c.Name), zap.Time("expires_at", ends)}
	switch {
	case !w.news("certificates/"+c.Name, ends.String()+strconv.FormatBool(none)):
	case none:
		w.log.Warn("the database user has no certificate of the API that has not expired", fields...)
	default:
		w.log.Info("read when the last certificate of the database user ends", fields...)
	}
}

// unreadCertificates notes that certificates could not be read, and reports whether that stays so. What was read before is shown further on.
func (w *Watch) unreadCertificates(c Certificates, err error) (final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.news("certificates/"+c.Name, "failed") {
		w.log.Warn("cannot read when the certificates of the database user end; it will be retried", zap.String("certificate", c.Name), zap.Error(err))
	}
	return isFinal(err)
}

// showCertificates shows what was read of the certificates that are watched. The lock is held, or not needed yet.
func (w *Watch) showCertificates() {
	last := map[Certificates]time.Time{}
	for _, c := range w.certificates {
		last[c] = w.last[c]
	}
	w.last = last
	w.cfg.Gauge.SetCertificateExpiries(w.certificateEnds())
}

// certificateEnds are what was read of the certificates; the zero time: not known. The lock is held.
func (w *Watch) certificateEnds() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, c := range w.certificates {
		ends[c.Name] = w.last[c]
	}
	return ends
}
