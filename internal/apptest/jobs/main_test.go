package jobs_test

import (
	"testing"

	"rekey/internal/apptest"
)

func TestMain(m *testing.M) { apptest.Main(m) }
