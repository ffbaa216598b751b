package atlas_test

import (
	"testing"

	"rekey/internal/apptest/testmain"
)

func TestMain(m *testing.M) { testmain.Of(m).Run() }
