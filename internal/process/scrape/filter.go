package scrape

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	askTimeout = 10 * time.Second
	// How long an answer of the API server counts, and for how many tokens it is kept.
	keepYes  = time.Minute
	keepNo   = 10 * time.Second
	keepMost = 128
)

// guard asks the API server who a token is of (TokenReview), and whether they may read (SubjectAccessReview of the path), as
// controller-runtime's filters do. Those need k8s.io/apiserver, which brings CEL, gRPC and OpenTelemetry into a process that runs on
// every node.
type guard struct {
	tokens  authenticationclient.TokenReviewInterface
	access  authorizationclient.SubjectAccessReviewInterface
	answers *cache.LRUExpireCache // of HTTP status codes, by what was asked
	log     *slog.Logger
}

func newFilter(rc *rest.Config, c *http.Client, log *slog.Logger) (metricsserver.Filter, error) {
	authentication, err := authenticationclient.NewForConfigAndClient(rc, c)
	if err != nil {
		return nil, fmt.Errorf("ask who a token is of: %w", err)
	}
	authorization, err := authorizationclient.NewForConfigAndClient(rc, c)
	if err != nil {
		return nil, fmt.Errorf("ask who may read metrics: %w", err)
	}
	g := &guard{
		tokens: authentication.TokenReviews(), access: authorization.SubjectAccessReviews(),
		answers: cache.NewLRUExpireCache(keepMost), log: log,
	}
	return func(_ logr.Logger, next http.Handler) (http.Handler, error) { return g.before(next), nil }, nil
}

// before lets only those through to next who may read it.
func (g *guard) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := g.status(r)
		switch status {
		case http.StatusOK:
			next.ServeHTTP(w, r)
			return
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		http.Error(w, http.StatusText(status), status)
	})
}

// status returns OK for a request that is to pass, else with what it is to be answered.
func (g *guard) status(r *http.Request) int {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return http.StatusUnauthorized
	}
	verb := strings.ToLower(r.Method)
	key := struct {
		token      [sha256.Size]byte
		verb, path string
	}{sha256.Sum256([]byte(token)), verb, r.URL.Path}
	if known, ok := g.answers.Get(key); ok {
		return known.(int)
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	status, err := g.ask(ctx, token, verb, r.URL.Path)
	switch {
	case err != nil:
		g.log.Error("cannot ask who may read metrics", "err", err)
		return http.StatusInternalServerError
	case status == http.StatusOK:
		g.answers.Add(key, status, keepYes)
	default:
		g.answers.Add(key, status, keepNo)
	}
	return status
}

func (g *guard) ask(ctx context.Context, token, verb, path string) (int, error) {
	who, err := g.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}},
		metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("create a TokenReview: %w", err)
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	may, err := g.access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
	}}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("create a SubjectAccessReview: %w", err)
	}
	if !may.Status.Allowed {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}
