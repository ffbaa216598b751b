package api_test

import (
	"testing"
	"time"

	"rekey/internal/api"
	"rekey/internal/apptest/testmain"
)

func TestMain(m *testing.M) {
	api.SetReadTimeout(2 * time.Second)
	testmain.Of(m).Run()
}
