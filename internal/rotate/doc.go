// Package rotate takes a rotation of a credential step by step from a look at the account to one new secret that every store has.
package rotate
