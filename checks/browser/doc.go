// Package browser looks at the console in a real browser, Debian's Chromium: what a reader sees, and what a person does with the keyboard.
package browser
