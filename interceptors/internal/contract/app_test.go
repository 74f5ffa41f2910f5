package contract_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	_ "google.golang.org/protobuf/types/known/wrapperspb" // the made-up file imports it

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// shape is the kind of a method.
type shape int

const (
	unary shape = iota
	serverStream
	clientStream
	bidi
)

var (
	shapes  = []shape{unary, serverStream, clientStream, bidi}
	streams = shapes[1:]
)

const serviceName = "contract.v1.Contract"

func (s shape) String() string {
	return [...]string{"Unary", "ServerStream", "ClientStream", "Bidi"}[s]
}

func (s shape) procedure() string { return "/" + serviceName + "/" + s.String() }

// pattern is the procedure as a ServeMux has it.
func (s shape) pattern() string { return "POST " + s.procedure() }

// onceMethod takes every link once. Its rule is in the registry of .proto files,
// where a propagator finds it.
const onceMethod = "/" + serviceName + "/Once"

var onceRule = &principalv1.AccessRule{SingleUse: true}

// registerProto makes up the .proto file of the service.
func registerProto() error {
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, principalv1.E_Access, onceRule)
	const message = ".google.protobuf.StringValue"
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("contract/v1/contract.proto"), Package: new("contract.v1"), Syntax: new("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: new("Contract"),
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: new("Once"), InputType: new(message), OutputType: new(message), Options: options,
			}},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(file)
}

// rules gives the same rule to every shape, for RPCs and for a ServeMux.
func rules(rule *principalv1.AccessRule) *principal.Rules {
	r := &principal.Rules{}
	for _, s := range shapes {
		r = r.WithMethod(s.procedure(), rule).WithMethod(s.pattern(), rule)
	}
	return r
}

// messages is a stream as the handlers of all stacks see it.
type messages interface {
	receive() (string, error)
	send(message string) error
}

// app is what the servers of all stacks serve: it echoes, and takes note of who
// called.
type app struct {
	// handle, if not nil, replaces the echo. It is set before serving.
	handle func(ctx context.Context, s shape, stream messages) error
	// around, if not nil, changes the context that a call arrives with.
	around func(context.Context) context.Context

	mu       sync.Mutex
	contexts []context.Context
	// headers are the values of our header as each call brought them, as text.
	headers [][]string
	// requestIDs are those that each call brought.
	requestIDs [][]string
}

func (a *app) serve(ctx context.Context, s shape, stream messages) error {
	a.mu.Lock()
	a.contexts = append(a.contexts, ctx)
	a.mu.Unlock()
	if a.handle != nil {
		return a.handle(ctx, s, stream)
	}
	return echo(s, stream)
}

func echo(s shape, stream messages) error {
	last := ""
	for {
		m, err := stream.receive()
		if errors.Is(err, io.EOF) && s == clientStream {
			return stream.send(last)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		last = m
		if s == clientStream {
			continue
		}
		if err := stream.send(m); err != nil || s != bidi {
			return err
		}
	}
}

// arrived notes what a call brought, before any guard: the values of our header
// as text, and what goes by another spelling of its name.
func (a *app) arrived(header map[string][]string) {
	var headers, requestIDs []string
	for name, values := range header {
		switch {
		case strings.EqualFold(name, principal.HeaderName):
			headers = append(headers, values...)
		case strings.EqualFold(name, principal.RequestIDHeaderName):
			requestIDs = append(requestIDs, values...)
		case principal.IsAlias(name):
			headers = append(headers, name+": "+strings.Join(values, " "))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.headers = append(a.headers, headers)
	a.requestIDs = append(a.requestIDs, requestIDs)
}

// take returns what has been noted and forgets it.
func (a *app) take() (contexts []context.Context, headers, requestIDs [][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	contexts, headers, requestIDs = a.contexts, a.headers, a.requestIDs
	a.contexts, a.headers, a.requestIDs = nil, nil, nil
	return contexts, headers, requestIDs
}

// record is an observer that keeps the events.
type record struct {
	mu     sync.Mutex
	events []principal.Event
}

func (r *record) Observe(_ context.Context, e *principal.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
}

func (r *record) take() []principal.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// once is the stream of a method with one request.
type once struct {
	request  *string
	response string
}

func (o *once) receive() (string, error) {
	if o.request == nil {
		return "", io.EOF
	}
	m := *o.request
	o.request = nil
	return m, nil
}

func (o *once) send(m string) error {
	o.response = m
	return nil
}
