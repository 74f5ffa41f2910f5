package provider

import (
	"crypto/rand"
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

//go:embed login.html
var loginHTML string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

// login is one authorization request, before and after its user is known.
type login struct {
	request  *oidc.AuthRequest
	user     string
	session  string
	authTime time.Time
	expires  time.Time
}

// logins are kept for a while, each under a random id.
type logins struct {
	life time.Duration
	now  func() time.Time

	mu  sync.Mutex
	all map[string]login
}

func newLogins(life time.Duration, now func() time.Time) *logins {
	return &logins{life: life, now: now, all: make(map[string]login)}
}

// add forgets the expired ones, so that abandoned logins do not pile up.
func (l *logins) add(one login) (id string) {
	now := l.now()
	one.expires = now.Add(l.life)
	id = rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.all, func(_ string, old login) bool { return !now.Before(old.expires) })
	l.all[id] = one
	return id
}

func (l *logins) get(id string) (login, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.all[id]
	return one, ok && l.now().Before(one.expires)
}

// take gives a login once.
func (l *logins) take(id string) (login, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.all[id]
	delete(l.all, id)
	return one, ok && l.now().Before(one.expires)
}

func (p *Provider) showLogin(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	one, ok := p.logins.get(id)
	if !ok {
		http.Error(w, "no such login, or too late", http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_ = loginPage.Execute(w, map[string]any{
		"ID": id, "Client": one.request.ClientID, "Users": slices.Sorted(maps.Keys(users)),
	})
}

func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("user")
	if _, ok := users[name]; !ok {
		http.Error(w, "no such user", http.StatusBadRequest)
		return
	}
	one, ok := p.logins.take(r.PostFormValue("id"))
	if !ok {
		http.Error(w, "no such login, or too late", http.StatusBadRequest)
		return
	}
	one.user, one.session, one.authTime = name, uuid.NewString(), p.now()
	answer := &op.CodeResponseType{Code: p.codes.add(one), State: one.request.State}
	target, err := op.AuthResponseURL(one.request.RedirectURI, one.request.ResponseType, one.request.ResponseMode,
		answer, oidc.NewEncoder())
	if err != nil {
		op.WriteError(w, r, err, p.logger)
		return
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}
