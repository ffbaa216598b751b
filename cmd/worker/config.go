package main

import (
	"errors"

	"github.com/spf13/cobra"

	"rekey/internal/config"
	"rekey/internal/terminal"
)

func (c *cli) configCommand() *cobra.Command {
	check := c.withOutput(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration file and report all its mistakes at once",
		Long: `Check a configuration file, or that of $` + envConfig + `: syntax, unknown keys, types, and what cannot work. Every
mistake is reported with its line. A warning, on standard error, is about a setting that is valid and
keeps a worker from its work. Nothing is contacted and no secret is read.`,
		Example: "  worker config check configs/worker.yaml",
		Args: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 && c.configName() == "" {
				return usagef("missing: FILE, and $%s is not set; the form is: %s", envConfig, cmd.UseLine())
			}
			return want("FILE")(cmd, append(list, c.configName())[:max(len(list), 1)])
		},
		RunE: func(_ *cobra.Command, list []string) error { return c.checkConfig(append(list, c.configName())[0]) },
	})
	return noun("config", "Work with configuration files", check)
}

// checked is what `config check -o json` shows.
type checked struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Problems []problem `json:"problems"`
}

type problem struct {
	File    string `json:"file,omitempty"` // Where it is not the configuration file itself.
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func (c *cli) checkConfig(file string) error {
	cfg, err := loadConfig(file)
	invalid, ok := errors.AsType[*config.Invalid](err)
	if err != nil && !ok {
		return err
	}
	if cfg != nil {
		for _, warning := range cfg.Warnings() {
			c.tell("%s: warning: %s", file, warning)
		}
	}
	result := checked{File: file, OK: err == nil, Problems: []problem{}}
	if invalid != nil {
		for _, p := range invalid.Problems {
			result.Problems = append(result.Problems, problem{p.File, p.Line, p.Column, p.Path, p.Message})
		}
	}
	printErr := c.print(result, func(t *terminal.Table) {
		if err == nil {
			t.Line("%s: ok", file)
			return
		}
		t.Line("%s", err)
	})
	if printErr != nil {
		return printErr
	}
	if err != nil {
		return errReported
	}
	return nil
}
