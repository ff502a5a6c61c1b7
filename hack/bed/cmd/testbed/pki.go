// Certificates and kubeconfigs of a bed.
//
// Comes in: names of clients. Goes out: one CA, the API server's certificate, a certificate for each client
// (its own common name, so that the audit log can tell them apart), the key of service-account tokens.
// They live as long as the bed and protect nothing but loopback.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife is longer than any bed lives.
const certificateLife = 365 * 24 * time.Hour

// authority signs everything of one bed.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

type keyPair struct{ certificate, key []byte }

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(pkix.Name{CommonName: "bascule-bed"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate: parsed, key: key, pem: pemBlock("CERTIFICATE", der)}, nil
}

// client is a certificate for a user of that name and those groups.
func (a *authority) client(name string, groups ...string) (keyPair, error) {
	template := certificate(pkix.Name{CommonName: name, Organization: groups})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(template)
}

// server is a certificate for the API server under all names by which it is called.
func (a *authority) server(addresses ...string) (keyPair, error) {
	template := certificate(pkix.Name{CommonName: "kube-apiserver"})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local"}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	return a.sign(template)
}

func (a *authority) sign(template *x509.Certificate) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return keyPair{}, err
	}
	private, err := privateKey(key)
	return keyPair{certificate: pemBlock("CERTIFICATE", der), key: private}, err
}

func certificate(subject pkix.Name) *x509.Certificate {
	// Random, as the API server keys caches by it. 63 bits never fail to be positive.
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Minute), // a clock that is set back a little must not lock the bed
		NotAfter:     now.Add(certificateLife),
	}
}

func privateKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pemBlock("PRIVATE KEY", der), nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// clients are the users of a bed, each with a kubeconfig <name>.kubeconfig: the user and its groups.
var clients = map[string][]string{
	"admin":                   {"admin", "system:masters"},
	"kube-controller-manager": {"system:kube-controller-manager"},
	"kube-scheduler":          {"system:kube-scheduler"},
	"kube-proxy":              {"system:kube-proxy"},
	"kwok":                    {"kwok", "system:masters"},
	"bed":                     {"bascule-bed", "system:masters"}, // the driver's own requests and helm's
}

// writePKI makes everything that the control plane reads, and the kubeconfigs.
func (b *bed) writePKI() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	server, err := ca.server("127.0.0.1", nodeAddress, firstServiceAddress)
	if err != nil {
		return err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tokenKey, err := privateKey(tokens)
	if err != nil {
		return err
	}
	tokenPublic, err := x509.MarshalPKIXPublicKey(&tokens.PublicKey)
	if err != nil {
		return err
	}
	toKubelet, err := ca.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"ca.crt": ca.pem, "apiserver.crt": server.certificate, "apiserver.key": server.key, "tokens.key": tokenKey,
		"tokens.pub":     pemBlock("PUBLIC KEY", tokenPublic),
		"to-kubelet.crt": toKubelet.certificate, "to-kubelet.key": toKubelet.key,
	}
	for name, text := range files {
		if err := replaceFile(b.path("pki", name), text, 0o600); err != nil {
			return err
		}
	}
	all := map[string][]string{"kubelet": {"system:node:" + b.nodeName(), "system:nodes"}}
	for name, who := range clients {
		all[name] = who
	}
	for name, who := range all {
		pair, err := ca.client(who[0], who[1:]...)
		if err != nil {
			return err
		}
		if name == "bed" { // for api.go, which reads no kubeconfig
			if err := errors.Join(replaceFile(b.path("pki", "bed.crt"), pair.certificate, 0o600),
				replaceFile(b.path("pki", "bed.key"), pair.key, 0o600)); err != nil {
				return err
			}
		}
		user := fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", base64.StdEncoding.EncodeToString(pair.certificate),
			base64.StdEncoding.EncodeToString(pair.key))
		if err := b.writeKubeconfig(name, who[0], user, ca.pem); err != nil {
			return err
		}
	}
	return nil
}

// writeKubeconfig writes one that holds everything inside, so that it can be copied anywhere.
func (b *bed) writeKubeconfig(name, user, credentials string, ca []byte) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster: {server: "https://%[2]s", certificate-authority-data: %[3]s}
users:
- name: %[4]q
  user: %[5]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[4]q}
current-context: %[1]s
`, "bed-"+b.name, b.address("kube-apiserver"), base64.StdEncoding.EncodeToString(ca), user, credentials)
	return replaceFile(b.path(name+".kubeconfig"), []byte(text), 0o600)
}
