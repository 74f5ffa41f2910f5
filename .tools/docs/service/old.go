package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// next is the service that this one asks.
type next struct{ url, name string }

var errNobody = errors.New("nobody")

// old is a service before Onbehalf. It passes on what it believes.
type old struct {
	name string
	next next
	who  func(*http.Request) (string, error)
}

func newOld(ctx context.Context, name string, next next) (http.Handler, error) {
	who, err := trusted(ctx, os.Getenv("TRUST"))
	return &old{name, next, who}, err
}

// trusted returns how a service finds out who calls.
func trusted(ctx context.Context, what string) (func(*http.Request) (string, error), error) {
	switch what {
	case "":
		return func(*http.Request) (string, error) { return "somebody", nil }, nil
	case "header":
		return func(r *http.Request) (string, error) {
			if user := r.Header.Get("X-User-Id"); user != "" {
				return user, nil
			}
			return "", errNobody
		}, nil
	case "central":
		return func(r *http.Request) (string, error) { return ask(r.Context(), r.Header.Get("Authorization")) }, nil
	case "jwt":
		provider, err := oidc.NewProvider(ctx, os.Getenv("ISSUER"))
		if err != nil {
			return nil, fmt.Errorf("the provider: %w", err)
		}
		verifier := provider.Verifier(&oidc.Config{ClientID: "shop"})
		return func(r *http.Request) (string, error) {
			token, err := verifier.Verify(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			if err != nil {
				return "", fmt.Errorf("the token: %w", err)
			}
			return token.Subject, nil
		}, nil
	default:
		return nil, fmt.Errorf("TRUST=%q: use jwt, central, header or nothing", what)
	}
}

// ask asks the central service for the user of a token.
func ask(ctx context.Context, authorization string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("CENTRAL"), http.NoBody)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", authorization)
	answer, err := new(http.Client).Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", errNobody
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	_, user, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
	return user, err
}

func (o *old) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, err := o.who(r)
	if err != nil {
		http.Error(w, o.name+": who are you?", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "%s: %s\n", o.name, user)
	if o.next.url == "" {
		return
	}
	onward, err := http.NewRequestWithContext(r.Context(), http.MethodGet, o.next.url, http.NoBody)
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	for _, name := range []string{"Authorization", "X-User-Id"} {
		onward.Header[name] = r.Header[name]
	}
	relate(w, new(http.Client), onward)
}

// relate answers with what the next service answers.
func relate(w io.Writer, client *http.Client, r *http.Request) {
	answer, err := client.Do(r)
	if err != nil {
		fmt.Fprintln(w, "the next service:", err)
		return
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	fmt.Fprint(w, string(text))
}
