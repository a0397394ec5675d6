# shellcheck shell=bash
# The story on images. Sourced by demo.sh.
# shellcheck disable=SC2154 # port, engine, images, in_token are the stage's

app="localhost:$port/demo/app"
export DOCKER_BUILDKIT=0
[ "$engine" = own ] || images=("$app:1.0" "$app:2.0" "$app:3.0")

image() { # image CONTENT: a Dockerfile for a small image that says CONTENT
  cp "$(command -v busybox)" busybox
  cat >Dockerfile <<EOF
FROM scratch
COPY busybox /bin/busybox
ENTRYPOINT ["/bin/busybox"]
CMD ["echo", "$1"]
EOF
}

# A key, an image signed with it, and the image as somebody else gets it.
signed_image() {
  step "A key that signs images of one repository, and nothing else"
  shows 0 "demo-app" "trustctl key create demo-app --purpose image --scope $app$in_token"
  shows 0 "BEGIN PUBLIC KEY" "trustctl key public demo-app | tee demo-app.pub"
  say "Whoever pulls says whom they believe:"
  shows 0 "" "trustctl pin add $app --public-key demo-app.pub"

  step "Build an image"
  image "hello from a signed image"
  shows 0 "sha256:" "docker build --quiet --tag $app:1.0 ."

  step "Push it; the daemon signs what was pushed"
  shows 0 "sha256:" "trustctl push $app:1.0"

  step "What is in the registry"
  shows 0 "demo-app" "trustctl inspect $app:1.0"

  step "Pull: verified here, before anything is pulled"
  say "$ export DOCKER_CONTENT_TRUST=1"
  export DOCKER_CONTENT_TRUST=1
  docker rmi --force "$app:1.0" >/dev/null
  shows 0 "sha256:" "trustctl pull $app:1.0"
  shows 0 "hello from a signed image" "trustctl run --rm $app:1.0"
}

# What is not pulled: an image that nobody signed, and one whose signature was changed.
refused_images() {
  step "Somebody pushes an image without a signature"
  image "hello from nobody"
  shows 0 "sha256:" "docker build --quiet --tag $app:2.0 ."
  shows 0 "digest: sha256:" "docker push --disable-content-trust $app:2.0"
  docker rmi --force "$app:2.0" >/dev/null

  step "It is not pulled, and not run"
  shows 1 "sign" "trustctl pull $app:2.0"
  shows 125 "sign" "trustctl run --rm $app:2.0"
  if docker image inspect "$app:2.0" >/dev/null 2>&1; then fail "the refused image was pulled all the same"; fi

  step "With content trust off it is, and says so"
  shows 0 "verif" "DOCKER_CONTENT_TRUST=0 trustctl pull $app:2.0"

  step "A signature that somebody tampered with"
  image "hello from an image whose signature was changed"
  shows 0 "sha256:" "docker build --quiet --tag $app:3.0 ."
  shows 0 "sha256:" "trustctl push --forms sig $app:3.0"
  digest=$(curl -sfI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json' \
    "http://127.0.0.1:$port/v2/demo/app/manifests/3.0" | tr -d '\r' | sed -n 's/^docker-content-digest: sha256://Ip')
  signature="http://localhost:$port/v2/demo/app/manifests/sha256-$digest.sig"
  shows 0 "" "curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' $signature |
    sed -E 's#(cosign/signature\": *\".{40})....#\1AAAA#' >tampered.json"
  shows 0 "201" "curl -s -o /dev/null -w '%{http_code}\n' -X PUT --data-binary @tampered.json \\
    -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' $signature"
  docker rmi --force "$app:3.0" >/dev/null
  shows 1 "sign" "trustctl pull $app:3.0"
}
