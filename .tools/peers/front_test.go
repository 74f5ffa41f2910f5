package peers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// front is a proxy before the edge: one way from a socket to its public listener.
type front struct {
	name   string // of the socket
	socket string
	proto  int // HTTP version that the client speaks
}

// Both let through what they can: names with an underscore or a dot, paths as
// they came, the client's Connection and Upgrade. What an operator forbids there
// cannot reach the edge.
const (
	nginxConfig = `daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	underscores_in_headers on;
	ignore_invalid_headers off;
	merge_slashes off;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	upstream edge { server EDGE; keepalive 8; }
	upstream edge2 { server EDGE; keepalive 8; }
	server { listen unix:DIR/nginx-1; location / {
		proxy_pass http://edge;
		proxy_set_header Connection $http_connection;
		proxy_set_header Upgrade $http_upgrade;
	} }
	server { listen unix:DIR/nginx-1-kept; location / { proxy_pass http://edge; } }
	server { listen unix:DIR/nginx-1-path; location / { proxy_pass http://edge/; } } # sends the path as nginx reads it
	server { listen unix:DIR/nginx-2-1 http2; location / { proxy_pass http://edge; } }
	server { listen unix:DIR/nginx-2 http2; location / { grpc_pass grpc://edge2; grpc_read_timeout 1h; } }
	server { listen unix:DIR/nginx-id; location / { proxy_pass http://edge; proxy_set_header X-Request-Id $request_id; } }
}
`
	haproxyConfig = `defaults
	mode http
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	option accept-invalid-http-request
	http-reuse always
frontend one
	bind unix@DIR/haproxy-1
	default_backend edge
frontend one_to_two
	bind unix@DIR/haproxy-1-2
	default_backend edge2
frontend two_to_one
	bind unix@DIR/haproxy-2-1 proto h2
	default_backend edge
frontend two
	bind unix@DIR/haproxy-2 proto h2
	default_backend edge2
frontend id
	bind unix@DIR/haproxy-id
	http-request set-header X-Request-Id %[uuid]
	default_backend edge
backend edge
	server edge EDGE
backend edge2
	server edge EDGE proto h2
`
)

// fronts starts nginx or haproxy before the edge.
func (e *edge) fronts(program string, path string) []front {
	e.t.Helper()
	dir := sockets(e.t)
	text := map[string]string{"nginx": nginxConfig, "haproxy": haproxyConfig}[program]
	config := filepath.Join(dir, program+".conf")
	text = strings.NewReplacer("DIR", dir, "EDGE", e.address).Replace(text)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	var names []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ' ' || r == '\n' || r == '@' || r == ':' }) {
		if name, ok := strings.CutPrefix(word, dir+"/"); ok {
			names = append(names, name)
		}
	}
	args := []string{"-db", "-q", "-f", config}
	if program == "nginx" {
		args = []string{"-p", dir, "-c", config, "-e", "stderr"}
	}
	run(e.t, dir, names, path, args...)
	list := make([]front, len(names))
	for i, name := range names {
		list[i] = front{name: name, socket: filepath.Join(dir, name), proto: 1}
		if strings.HasPrefix(name, program+"-2") {
			list[i].proto = 2
		}
	}
	return list
}

// eachFront runs a test with each proxy that is installed.
func eachFront(t *testing.T, test func(t *testing.T, program, path string)) {
	t.Helper()
	for _, name := range []string{"nginx", "haproxy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name, program(t, name))
		})
	}
}
