// Package admin is what whoever runs the edge can do while it runs: revoke,
// look at keys and services, rotate, let services enrol.
//
// A call shows the token of the data directory and comes from the loopback
// interface: who can read that file can do more than this anyway. Every change
// leaves an audit record.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/timestamppb"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
)

const (
	maxMessage = 64 << 10
	maxReason  = 256
	maxList    = 10_000

	defaultTokenLife = time.Hour
	maxTokenLife     = 30 * 24 * time.Hour
	defaultList      = 100
)

// Trust is what the admin service changes and shows.
type Trust interface { //nolint:interfacebloat // one for each method of the service
	Revoke(ctx context.Context, t revocation.Target, reason string) (sequence uint64, err error)
	Revocations(limit int) (list []*bffv1.RevocationInfo, total int)
	Keys() []*bffv1.KeyInfo
	Rotate(ctx context.Context) (keyID string, err error)
	Services() []*bffv1.ServiceInfo
	Sequence() uint64
	CreateToken(ctx context.Context, service string, life time.Duration) (token string, expires time.Time, err error)
	// Unavailable reports whether an error says that the store cannot be written.
	Unavailable(err error) bool
}

// Store is what the admin service looks after.
type Store interface {
	Check(ctx context.Context) ([]*bffv1.Finding, error)
	Backup(ctx context.Context, w io.Writer) error
}

// Options are the settings of [New]. All are required.
type Options struct {
	Token Token
	Trust Trust
	Store Store
	Audit *audit.Log
	Now   func() time.Time
}

// New returns the handler of the admin service.
func New(o Options) http.Handler {
	server := connect.NewServer()
	bffv1connect.RegisterAdminServiceHandler(server, &handler{o})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, connecthttp.WithReadMaxBytes(maxMessage))
	want := sha256.Sum256([]byte("Bearer " + o.Token.text))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Values("Authorization")
		got := sha256.Sum256([]byte(strings.Join(authorization, "\x00")))
		switch {
		case !fromLoopback(r.RemoteAddr):
			http.Error(w, "the admin service is for this machine only", http.StatusForbidden)
		case subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			http.Error(w, "the admin token is missing or wrong", http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func fromLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

type handler struct{ Options }

var _ bffv1connect.AdminServiceHandler = (*handler)(nil)

func (h *handler) Revoke(ctx context.Context, r *bffv1.RevokeRequest) (*bffv1.RevokeResponse, error) {
	target, err := revocation.FromProto(r.GetTarget())
	if err != nil {
		return nil, invalid(err.Error())
	}
	if len(r.GetReason()) > maxReason {
		return nil, invalid("the reason is longer than 256 bytes")
	}
	event := audit.Event{Action: audit.ActionRevoke, Target: target.String(), Note: r.GetReason()}
	sequence, err := h.Trust.Revoke(ctx, target, r.GetReason())
	event.Sequence = sequence
	if err := h.record(ctx, &event, err); err != nil {
		return nil, err
	}
	return &bffv1.RevokeResponse{Sequence: sequence}, nil
}

func (h *handler) ListRevocations(_ context.Context, r *bffv1.ListRevocationsRequest) (*bffv1.ListRevocationsResponse, error) {
	limit := int(min(r.GetLimit(), maxList))
	if limit == 0 {
		limit = defaultList
	}
	list, total := h.Trust.Revocations(limit)
	return &bffv1.ListRevocationsResponse{Revocations: list, Total: uint64(total)}, nil
}

func (h *handler) ListKeys(context.Context, *bffv1.ListKeysRequest) (*bffv1.ListKeysResponse, error) {
	return &bffv1.ListKeysResponse{Keys: h.Trust.Keys()}, nil
}

func (h *handler) RotateKey(ctx context.Context, _ *bffv1.RotateKeyRequest) (*bffv1.RotateKeyResponse, error) {
	id, err := h.Trust.Rotate(ctx)
	if err := h.record(ctx, &audit.Event{Action: audit.ActionRotate, KeyID: id}, err); err != nil {
		return nil, err
	}
	return &bffv1.RotateKeyResponse{KeyId: id}, nil
}

func (h *handler) ListServices(context.Context, *bffv1.ListServicesRequest) (*bffv1.ListServicesResponse, error) {
	return &bffv1.ListServicesResponse{Services: h.Trust.Services(), Sequence: h.Trust.Sequence()}, nil
}

func (h *handler) CreateEnrollmentToken(ctx context.Context, r *bffv1.CreateEnrollmentTokenRequest) (*bffv1.CreateEnrollmentTokenResponse, error) {
	life := defaultTokenLife
	if d := r.GetLife(); d != nil {
		life = d.AsDuration()
	}
	if life < time.Second || life > maxTokenLife {
		return nil, invalid("the life of a token is 1s to 720h")
	}
	token, expires, err := h.Trust.CreateToken(ctx, r.GetService(), life)
	if err := h.record(ctx, &audit.Event{Action: audit.ActionToken, Service: r.GetService()}, err); err != nil {
		return nil, err
	}
	return &bffv1.CreateEnrollmentTokenResponse{Token: token, Expires: timestamppb.New(expires)}, nil
}

// record writes what was done, and returns what the operator is told.
func (h *handler) record(ctx context.Context, e *audit.Event, err error) error {
	e.Time, e.Decision = h.Now(), audit.Allowed
	if err != nil {
		e.Decision, e.Detail = audit.Refused, err.Error()
	}
	h.Audit.WriteEvent(ctx, e)
	switch {
	case err == nil:
		return nil
	case h.Trust.Unavailable(err):
		return connect.NewError(connect.CodeUnavailable, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, "it took too long; look whether it was done")
	default:
		return invalid(err.Error())
	}
}

func invalid(text string) error { return connect.NewError(connect.CodeInvalidArgument, text) }

func (h *handler) CheckStore(ctx context.Context, _ *bffv1.CheckStoreRequest) (*bffv1.CheckStoreResponse, error) {
	found, err := h.Store.Check(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err.Error())
	}
	return &bffv1.CheckStoreResponse{Findings: found}, nil
}

func (h *handler) BackupStore(ctx context.Context, _ *bffv1.BackupStoreRequest, stream bffv1connect.AdminServiceBackupStoreServerStream) error {
	if err := h.Store.Backup(ctx, parts{stream}); err != nil {
		return connect.NewError(connect.CodeUnavailable, err.Error())
	}
	return nil
}

// parts sends what is written as messages.
type parts struct {
	stream bffv1connect.AdminServiceBackupStoreServerStream
}

func (p parts) Write(b []byte) (int, error) {
	const most = 256 << 10
	for sent := 0; sent < len(b); sent += most {
		if err := p.stream.Send(&bffv1.BackupStoreResponse{Part: b[sent:min(sent+most, len(b))]}); err != nil {
			return sent, err
		}
	}
	return len(b), nil
}
