# Every package of every module of the workspace.
ALL := github.com/onbehalf-dev/onbehalf/...

# buf and golangci-lint have go.mod files of their own, which Go does not read inside a workspace. `go tool -n` builds
# the tool into Go's build cache, the first time for a minute or two, and prints where it lies.
BUF  = $$(GOWORK=off go tool -modfile=.tools/buf/go.mod -n buf)
LINT = $$(GOWORK=off go tool -modfile=.tools/lint/go.mod -n golangci-lint)

# What a change of the released protos is compared with: where this branch left main, on main itself its last commit.
AGAINST ?= $(shell git merge-base HEAD main 2>/dev/null || git merge-base HEAD origin/main 2>/dev/null)

# For how long each fuzz target runs, which figures are measured, and flags of the soak.
FUZZTIME ?= 10s
BENCH    ?= .
SOAK     ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-hsm test-plugin peers docs race lint generate bench soak soak-edge fuzz tidy clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

demo: ## Run an edge and four services, and calls that pass or are refused; KEEP=1 leaves them up
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && go build -o "$$dir/demo" ./examples/cmd/demo && "$$dir/demo" $(if $(KEEP),-keep)

test: ## Test every module, and the second verifier, which needs Node
	go test -timeout 5m $(ALL)
	@if node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null; then \
		set -ex; node examples/node/run-vectors.mjs; \
		cd examples/node; node --test --test-reporter=spec test/*.test.mjs; \
	else \
		echo 'skipped: the verifier in examples/node, as there is no Node 18 or newer here'; \
	fi

test-hsm: ## Test signing keys in an HSM, against SoftHSM and with a C compiler; print signatures per second
	@if command -v softhsm2-util >/dev/null && command -v "$$(go env CC)" >/dev/null; then \
		set -ex; cd bff/hsm; export GOWORK=off CGO_ENABLED=1; \
		go vet ./...; go test -race -timeout 5m ./...; go test -run '^$$' -bench . ./...; \
	else \
		echo 'skipped: keys in an HSM, as there is no SoftHSM or no C compiler here'; \
	fi

test-plugin: ## Test the plugin that checks access rules, with buf itself
	@set -ex; cd proto/bufplugin; export GOWORK=off; go vet ./...; go test -timeout 5m ./...

peers: ## Test the edge with nginx, HAProxy, an OpenID provider, grpcurl, buf, ghz and a browser
	@for command in nginx haproxy chromium npm; do \
		PATH="$$PATH:/usr/sbin" command -v "$$command" >/dev/null || echo "skipped: what needs $$command, as it is not here"; \
	done; \
	set -e; cd .tools/peers; export GOWORK=off; \
	if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null; then \
		npm ci --prefer-offline --ignore-scripts --no-audit --no-fund; \
	else \
		echo 'skipped: the OpenID provider and the browser, as there is no Node 20 or newer here'; rm -rf node_modules; \
	fi; \
	set -x; go vet ./...; go test -count=1 -timeout 5m ./...

docs: ## Do what the pages of the documentation say, and follow the links of all Markdown files; needs curl
	@set -ex; cd .tools/docs; export GOWORK=off; go vet ./...; go test -count=1 -v -timeout 5m ./...

race: ## Test every module under the race detector, which needs a C compiler
	CGO_ENABLED=1 go test -race -timeout 5m $(ALL)

lint: ## Check the form of all code, and that the released protos still fit their users
	@echo '== gofmt'
	@files=$$(gofmt -l .) && [ -z "$$files" ] || { echo "not formatted: $$files"; exit 1; }
	@echo '== buf'
	@$(BUF) lint
	@$(BUF) format --diff --exit-code
	@if git cat-file -e '$(AGAINST):proto' 2>/dev/null; then \
		git archive '$(AGAINST)' buf.yaml proto | $(BUF) breaking proto --against '-#format=tar,subdir=proto'; \
	else \
		echo 'skipped: buf breaking, as there is no earlier state to compare with'; \
	fi
	@echo '== go vet'
	@go vet $(ALL)
	@echo '== golangci-lint'
	@$(LINT) run $$(go list -m -f '{{.Dir}}/...')

generate: ## Generate Go from the protos, the same bytes each time
	@set -e; for template in $$(git ls-files -co --exclude-standard -- buf.gen.yaml '*/buf.gen.yaml' ':!examples/adopt'); do \
		echo "buf generate --template $$template"; $(BUF) generate --template $$template; \
	done
	cd bff && go run ./internal/configdoc ../docs/configuration.md
	@go run ./proto/export examples/adopt/after/third_party/onbehalf

bench: ## Measure the figures that match BENCH, beside those of other libraries
	cd .tools/bench && GOWORK=off go run . -only '$(BENCH)'
	cd .tools/soak && GOWORK=off go run . -proxies

soak: ## Rotate and revoke under load, with 1,000 services; ends by itself
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cd .tools/soak && GOWORK=off go build -o "$$dir/soak" . && "$$dir/soak" $(SOAK)

soak-edge: ## An edge under load for ten minutes, while all around it changes; ends by itself
	@$(MAKE) --no-print-directory soak SOAK='-edge $(SOAK)'

fuzz: ## Fuzz every target for FUZZTIME
	@listed=$$(go test -list '^Fuzz' $(ALL)) || { echo "$$listed"; exit 1; }; \
	for found in $$(echo "$$listed" | awk '/^Fuzz/ {name[n++] = $$1} /^ok/ {while (n) print $$2 ":" name[--n]}'); do \
		echo "== $$found"; \
		go test -run '^$$' -fuzz "^$${found#*:}$$" -fuzztime $(FUZZTIME) "$${found%%:*}" || exit 1; \
	done

# The modules name versions of each other that are not published, and `go mod tidy` does not read go.work. It is told
# where they lie in a copy of each go.mod, so that a failure leaves the real one as it was.
tidy: ## Tidy the go.mod of every module
	@set -e; copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	here=$$(go list -m -f '-replace={{.Path}}={{.Dir}}'); published=$$(go list -m -f '-dropreplace={{.Path}}'); \
	for module in $$(go list -m -f '{{.Dir}}'); do \
		echo "tidy $$module"; \
		cp "$$module/go.mod" "$$module/go.sum" "$$copy"; go mod edit $$here "$$copy/go.mod"; \
		(cd "$$module" && GOWORK=off go mod tidy -modfile="$$copy/go.mod"); \
		go mod edit $$published "$$copy/go.mod"; cp "$$copy/go.mod" "$$copy/go.sum" "$$module"; \
	done

clean: ## Remove what git ignores
	git clean -fdX
