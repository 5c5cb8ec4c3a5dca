// Package password reads the passwords of BGP sessions.
package password

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/config"
)

// Of returns the password of a peer, or why there is none that a session can have although one is asked for. Secrets are read from the
// installation's namespace.
func Of(ctx context.Context, reader client.Reader, namespace string) func(*config.BGPPeer) (password, unready string) {
	return func(p *config.BGPPeer) (password, unready string) {
		if p.PasswordSecret.Name == "" {
			return p.Password, ""
		}
		name := types.NamespacedName{Namespace: namespace, Name: p.PasswordSecret.Name}
		var s corev1.Secret
		err := reader.Get(ctx, name, &s)
		switch value, ok := s.Data[corev1.BasicAuthPasswordKey]; {
		case apierrors.IsNotFound(err):
			unready = fmt.Sprintf("there is no Secret %s of type %s; create it, with a key %s", name, corev1.SecretTypeBasicAuth,
				corev1.BasicAuthPasswordKey)
		case err != nil:
			unready = fmt.Sprintf("Secret %s cannot be read: %v", name, err)
		case s.Type != corev1.SecretTypeBasicAuth:
			unready = fmt.Sprintf("Secret %s is of type %s; it must be %s", name, s.Type, corev1.SecretTypeBasicAuth)
		case !ok || len(value) == 0:
			unready = fmt.Sprintf("Secret %s has no key %s", name, corev1.BasicAuthPasswordKey)
		default:
			problem := config.PasswordProblem(string(value))
			if problem == "" {
				return string(value), ""
			}
			unready = fmt.Sprintf("Secret %s: key %s: %s", name, corev1.BasicAuthPasswordKey, problem)
		}
		return "", unready
	}
}
