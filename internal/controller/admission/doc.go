// Package admission serves a validating webhook for the metallb.io objects of the install namespace. It finds the faults that
// internal/config finds, before the object is stored, and nothing depends on it: what gets past it is reported as always.
package admission
