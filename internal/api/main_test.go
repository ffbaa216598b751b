package api_test

import (
	"testing"
	"time"

	"rekey/internal/api"
)

func TestMain(m *testing.M) {
	api.SetReadTimeout(2 * time.Second)
	m.Run()
}
