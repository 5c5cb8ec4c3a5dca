package migrate

import (
	"context"
	"io"
)

// Confirm asks the user, who answers on in; the answer that changes something is y or yes.
func Confirm(ctx context.Context, in io.Reader, out io.Writer, question string) error {
	return New(nil, Options{In: in, Out: out}).confirm(ctx, question)
}
