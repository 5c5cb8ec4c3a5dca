package admission

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names in the cluster, as MetalLB has them.
const (
	secretName        = "metallb-webhook-cert"
	ConfigurationName = "metallb-webhook-configuration"
	DefaultService    = "metallb-webhook-service"

	// caName and caOrganization are MetalLB's too, so that its CA is used on, not replaced.
	caName         = "cert"
	caOrganization = "metallb"
)

// How long certificates live, and when they are looked at. One is replaced lookahead before it ends.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour
	lookahead  = 90 * 24 * time.Hour
	backdate   = time.Hour
	checkEvery = time.Minute
	retryAfter = 5 * time.Second
)

var errNoCertificate = errors.New("the webhook has no certificate yet")

// certificate keeps the webhook's certificate in a Secret and its CA in the webhook's configuration. Making and checking
// certificates is the rotator library's work; its controller is not used because it ends the process when it cannot work, and
// watches every Secret of the namespace.
type certificate struct {
	reader    client.Reader // not a cache: the Secret and the configuration are looked at once a minute
	writer    client.Writer
	namespace string
	maker     rotator.CertRotator
	log       *slog.Logger
	now       func() time.Time

	serving atomic.Pointer[tls.Certificate]
}

func newCertificate(reader client.Reader, writer client.Writer, namespace, service string, log *slog.Logger) *certificate {
	return &certificate{
		reader: reader, writer: writer, namespace: namespace, log: log, now: time.Now,
		maker: rotator.CertRotator{
			CAName: caName, CAOrganization: caOrganization,
			DNSName:       fmt.Sprintf("%s.%s.svc", service, namespace),
			ExtraDNSNames: []string{"localhost"}, // for a controller that runs beside the API server, not in a pod
			ExtKeyUsages:  &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
	}
}

// run keeps the certificate good until ctx ends.
func (c *certificate) run(ctx context.Context) {
	for told := ""; ; {
		wait := checkEvery
		if err := c.keep(ctx); err != nil {
			wait = retryAfter
			if ctx.Err() == nil && told != err.Error() {
				told = err.Error()
				c.log.Warn("webhook certificate", "err", err)
			}
		} else {
			told = ""
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// keep looks at Secret and configuration once, and writes what is missing or about to end.
func (c *certificate) keep(ctx context.Context) error {
	data, err := c.secret(ctx)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w", c.namespace, secretName, err)
	}
	c.serving.Store(&pair)
	return c.inject(ctx, data[corev1.ServiceAccountRootCAKey])
}

// serve is tls.Config.GetCertificate.
func (c *certificate) serve(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.serving.Load(); pair != nil {
		return pair, nil
	}
	return nil, errNoCertificate
}

const caKey = "ca.key"

// secret returns the content of the Secret, which is made or renewed if need be. If another replica is faster, that is an error
// and its certificate is found next time.
func (c *certificate) secret(ctx context.Context) (map[string][]byte, error) {
	key := types.NamespacedName{Namespace: c.namespace, Name: secretName}
	var s corev1.Secret
	err := c.reader.Get(ctx, key, &s)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return nil, fmt.Errorf("secret %s: %w", key, err)
	}
	renewed, err := c.renew(s.Data)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	if renewed == nil {
		return s.Data, nil
	}
	s.Data = renewed
	if missing {
		s.ObjectMeta = metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
		err = c.writer.Create(ctx, &s)
	} else {
		err = c.writer.Update(ctx, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", key, err)
	}
	c.log.Info("webhook certificate renewed", "secret", key.String())
	return renewed, nil
}

// renew returns new content for the Secret, or nil if the old one is good for the lookahead. A good CA stays.
func (c *certificate) renew(old map[string][]byte) (map[string][]byte, error) {
	at := c.now().Add(lookahead)
	caCert, caPEM := old[corev1.ServiceAccountRootCAKey], old[caKey]
	caGood, _ := rotator.ValidCert(caCert, caCert, caPEM, c.maker.CAName, nil, at)
	good, _ := rotator.ValidCert(caCert, old[corev1.TLSCertKey], old[corev1.TLSPrivateKeyKey], c.maker.DNSName, c.maker.ExtKeyUsages, at)
	if caGood && good {
		return nil, nil
	}
	begin := c.now().Add(-backdate)
	var ca *rotator.KeyPairArtifacts
	var err error
	if caGood {
		ca, err = parseCA(caCert, caPEM)
	} else {
		ca, err = c.maker.CreateCACert(begin, c.now().Add(caLife))
	}
	if err != nil {
		return nil, err
	}
	cert, key, err := c.maker.CreateCertPEM(ca, begin, c.now().Add(serverLife))
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		corev1.ServiceAccountRootCAKey: ca.CertPEM, caKey: ca.KeyPEM, corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key,
	}, nil
}

// parseCA reads what CreateCACert wrote.
func parseCA(certPEM, keyPEM []byte) (*rotator.KeyPairArtifacts, error) {
	cert, _ := pem.Decode(certPEM)
	key, _ := pem.Decode(keyPEM)
	if cert == nil || key == nil {
		return nil, errors.New("the CA is not in PEM form")
	}
	a := &rotator.KeyPairArtifacts{CertPEM: certPEM, KeyPEM: keyPEM}
	var err error
	if a.Cert, err = x509.ParseCertificate(cert.Bytes); err != nil {
		return nil, err
	}
	a.Key, err = x509.ParsePKCS1PrivateKey(key.Bytes)
	return a, err
}

// inject tells the API server whom to trust. Without a configuration there is nothing to do: nobody calls.
func (c *certificate) inject(ctx context.Context, ca []byte) error {
	var o admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.reader.Get(ctx, types.NamespacedName{Name: ConfigurationName}, &o); err != nil {
		return client.IgnoreNotFound(err)
	}
	changed := false
	for i := range o.Webhooks {
		if !slices.Equal(o.Webhooks[i].ClientConfig.CABundle, ca) {
			o.Webhooks[i].ClientConfig.CABundle, changed = ca, true
		}
	}
	if !changed {
		return nil
	}
	if err := c.writer.Update(ctx, &o); err != nil {
		return fmt.Errorf("write the CA to ValidatingWebhookConfiguration %s: %w", ConfigurationName, err)
	}
	return nil
}

// sleep reports false if ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
