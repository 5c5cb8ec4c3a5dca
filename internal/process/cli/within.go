package cli

import (
	"context"
	"time"
)

// Within returns a context for what may take so long, as a flag like --request-timeout says it; 0: as long as it takes.
func Within(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	if patience <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}
